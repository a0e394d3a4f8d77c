// A gateway that asks for keys: the page asks its reader, and an admin's word needs an admin's key.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { begin, closeBrowser, drop, open, PROGRAM, pictures } from './stage.mjs'

after(closeBrowser)

function keyFile(scene) {
  const folder = mkdtempSync(join(tmpdir(), 'dunlin-keys-'))
  scene.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'keys.toml')
  const key = (name, scopes) => {
    const options = ['--keys', path, '--name', name, '--scope', scopes, '--output', 'json']
    return JSON.parse(execFileSync(PROGRAM, ['key', 'create', ...options], { encoding: 'utf8' }))
      .key
  }
  return { path, user: key('user', 'read,classify'), admin: key('admin', 'admin') }
}

async function give(page, name, key) {
  await page.getByLabel(name, { exact: true }).fill(key)
  await page.getByRole('button', { name: 'Use this key' }).click()
  await page.getByLabel(name, { exact: true }).waitFor({ state: 'hidden' })
}

test('a key is asked for and kept for the tab, and pausing needs an admin key', async (scene) => {
  const { path, user, admin } = keyFile(scene)
  const system = await begin(scene, '--model', 'stub:10ms', '--max-instances', '1', '--keys', path)
  const { page, close } = await open(system.url)
  await page.getByText('This server wants a key.').waitFor()
  await drop(page, pictures(2))
  await give(page, 'Key', user)
  await page.getByText('2 of 2 answered').first().waitFor()
  await page.reload()
  await page.getByText(/\d workers? ·/).waitFor()

  await page.getByRole('link', { name: 'Fleet', exact: true }).click()
  await page.getByText('Pause', { exact: true }).first().click()
  await page.getByRole('button', { name: 'Pause', exact: true }).click()
  await page.getByText('This needs an admin key.').waitFor()
  await page
    .getByText(/this needs a key of scope admin/i)
    .first()
    .waitFor()
  await give(page, 'Admin key', admin)
  await page
    .getByText(/Paused: it starts and stops nothing/)
    .first()
    .waitFor()
  await close()
})

test('a wrong key is asked for again', async (scene) => {
  const { path, user } = keyFile(scene)
  const system = await begin(scene, '--model', 'stub:10ms', '--max-instances', '1', '--keys', path)
  const { page, close } = await open(system.url)
  await page.getByLabel('Key', { exact: true }).fill(user.slice(0, -4))
  await page.getByRole('button', { name: 'Use this key' }).click()
  await page.getByLabel('Key', { exact: true }).fill(user)
  await page.getByRole('button', { name: 'Use this key' }).click()
  await page.getByText(/\d workers? ·/).waitFor()
  await close()
})
