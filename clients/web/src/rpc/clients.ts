// The three services, over gRPC-web on the address the page came from.

import { createClient, type Interceptor } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'
import { AutoscalerService } from '../gen/dunlin/v1/autoscaler_service_pb'
import { ClassifierService } from '../gen/dunlin/v1/classifier_service_pb'
import { JobService } from '../gen/dunlin/v1/job_service_pb'
import { keys } from './keys.svelte'

const COMMANDS = new Set(['Pause', 'Resume', 'SetPolicy', 'SetOverride', 'DrainInstance'])

const authorize: Interceptor = (next) => (request) => {
  const command = COMMANDS.has(request.method.name)
  const key = keys.for(command ? 'admin' : 'any')
  if (key) request.header.set('authorization', `Bearer ${key}`)
  // Who asked, in the record of decisions, where no key says it better.
  if (command) request.header.set('x-actor', 'page')
  return next(request)
}

const transport = createGrpcWebTransport({ baseUrl: location.origin, interceptors: [authorize] })

export const classifier = createClient(ClassifierService, transport)
export const autoscaler = createClient(AutoscalerService, transport)
export const jobs = createClient(JobService, transport)
