// The demonstration as a process: started at a free port, asked by its own interface, stopped.
//
// MESHWARD names the program. Whoever sits at this machine may do everything in a demonstration, so nobody logs in.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const PROGRAM = process.env.MESHWARD ?? '../target/debug/meshward';
/** How long anything may take, in ms: the machine may be busy with other tests. */
export const PATIENCE = 60_000;

/** A port that was free just now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Asks until `look` gives something true. */
export async function until(look, what, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look().catch((error) => ({ error }));
    if (found && !found.error) return found;
    if (Date.now() > end) throw new Error(`after ${patience / 1000} s: ${what}${found?.error ? ` (${found.error})` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A demonstration that runs. */
export class Demo {
  constructor(port, args) {
    this.port = port;
    this.args = args;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Starts one and waits for its nodes. */
  static async start(args = []) {
    const demo = new Demo(await freePort(), args);
    await demo.begin();
    return demo;
  }

  async begin() {
    const args = ['demo', '--http', `127.0.0.1:${this.port}`, ...this.args];
    this.process = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, RUST_LOG: 'warn' } });
    this.ended = once(this.process, 'exit');
    const lines = createInterface({ input: this.process.stdout });
    const first = await Promise.race([
      once(lines, 'line').then(([line]) => line),
      this.ended.then(([code]) => {
        throw new Error(`${PROGRAM} ended with ${code}`);
      }),
    ]);
    if (first !== `dashboard: ${this.url}/`) throw new Error(`its first line is: ${first}`);
    const nodes = Number(this.args[this.args.indexOf('--nodes') + 1] ?? 40);
    await until(async () => (await this.get('/api/v1/topology')).nodes.length === nodes, `${nodes} nodes in the mesh`);
  }

  async ask(method, path, body) {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? null : answer.json();
  }

  get(path) {
    return this.ask('GET', path);
  }

  /** All nodes, by their ids. */
  async nodes() {
    return (await this.get('/api/v1/nodes?limit=1000')).items;
  }

  /** Takes its power away. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }

  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGTERM');
    const late = setTimeout(() => this.process.kill('SIGKILL'), 15_000);
    await this.ended;
    clearTimeout(late);
  }
}
