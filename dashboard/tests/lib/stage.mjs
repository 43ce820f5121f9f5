// A gateway that was made up: it passes on what the demonstration says, but for the stream, which says what a test wants.
//
// For meshes that are too large to run here, for words that no honest node says, and for connections that end.

import { createServer, request } from 'node:http';
import { once } from 'node:events';

/** What stands in front of a demonstration. */
export class Stage {
  constructor(demo, change) {
    this.demo = demo;
    this.change = change;
    this.listeners = new Set();
    this.server = createServer((asked, answer) => this.#serve(asked, answer));
  }

  static async start(demo, change) {
    const stage = new Stage(demo, change);
    stage.server.listen(0, '127.0.0.1');
    await once(stage.server, 'listening');
    stage.url = `http://127.0.0.1:${stage.server.address().port}`;
    return stage;
  }

  /** Tells all listeners something. */
  tell(event, data) {
    for (const listener of this.listeners) listener.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Ends all streams. */
  drop() {
    for (const listener of this.listeners) listener.destroy();
  }

  async stop() {
    this.drop();
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  async #serve(asked, answer) {
    if (asked.url.startsWith('/api/v1/events/stream')) return this.#stream(answer);
    const headers = { ...asked.headers, host: `127.0.0.1:${this.demo.port}` };
    const passed = request({ port: this.demo.port, host: '127.0.0.1', method: asked.method, path: asked.url, headers }, (from) => {
      answer.writeHead(from.statusCode, from.headers);
      from.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  }

  async #stream(answer) {
    const [nodes, alerts, rollouts, mesh] = await Promise.all([
      this.demo.nodes(),
      this.demo.get('/api/v1/alerts?limit=1000'),
      this.demo.get('/api/v1/rollouts?limit=100'),
      this.demo.get('/api/v1/status'),
    ]);
    const snapshot = this.change({ revision: 1, nodes, alerts: alerts.items, rollouts: rollouts.items, mesh });
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    answer.write(`retry: 500\nid: stage-1\nevent: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`);
    this.listeners.add(answer);
    answer.on('close', () => this.listeners.delete(answer));
  }
}

/** A snapshot of a mesh of `many` nodes, by the looks of the nodes that there are: each new one hangs on one before it. */
export function enlarged(snapshot, many) {
  // Those who are away, and who is behind them, are in no tree.
  const away = new Set(snapshot.nodes.filter((node) => node.parent == null).map((node) => node.id));
  const patterns = snapshot.nodes.filter((node) => node.parent != null && !away.has(node.parent)).map((node) => ({ ...node, state: 'online' }));
  const nodes = [...patterns];
  for (let index = nodes.length; index < many; index += 1) {
    // At most four children each, and wide rather than deep, as real meshes are.
    const parent = nodes[Math.floor((index - 1) / 4)];
    const pattern = patterns[index % patterns.length];
    const id = 1_000_000_000 + index * 7_919;
    nodes.push({ ...pattern, id, name: `node ${index}`, parent: parent.id, hops: (parent.hops ?? 0) + 1, state: 'online' });
  }
  return { ...snapshot, nodes, mesh: { ...snapshot.mesh, learning: false, states: { online: nodes.length } } };
}
