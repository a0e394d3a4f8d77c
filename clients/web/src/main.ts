import './shell/base.css'
import { mount } from 'svelte'
import Page from './shell/Page.svelte'

const target = document.getElementById('page')
if (!target) throw new Error('index.html has the element')

export default mount(Page, { target })
