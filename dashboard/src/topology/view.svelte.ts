// What the topology page shows: choices in the address, the tree of now or of then, and the picture that comes of them.
//
// It asks the gateway once for images and for the tree of a time that somebody chose; everything else is live already.

import { api, ApiError, words } from '../lib/api';
import { clock } from '../lib/clock.svelte';
import { nodeName, plain } from '../lib/format';
import { live } from '../lib/live.svelte';
import { router } from '../lib/router.svelte';
import type { Firmware, Node } from '../lib/types';
import { running } from '../firmware/running';
import { layOut, type Shape } from './layout';
import { buildTree, fold, linksOf, NODES_MAX, pathToGateway, sameTree, type Tree, unfoldTo } from './model';
import { asScale, changes, scaleOfThen } from './past';
import { type Picture, pictureOf, sceneOf } from './picture';
import { type LegendItem, type Mode, MODES, type Scale, scaleOf, type Seen } from './scales';
import { find } from './search';

/** The tree of a while ago. */
interface Past {
  at: string;
  tree: Tree;
  uncertain: readonly number[];
}

const SHAPES: readonly Shape[] = ['layered', 'radial'];
const NOBODY: ReadonlySet<number> = new Set();

export class View {
  shape: Shape = $derived(SHAPES.find((shape) => shape === router.query.get('layout')) ?? 'layered');
  mode: Mode = $derived(MODES.find(({ mode }) => mode === router.query.get('colour'))?.mode ?? 'state');
  table = $derived(router.query.get('as') === 'table');
  selected: number | null = $derived(idOf(router.query.get('node')));
  /** The time that is looked at; `null` is now. */
  at: string | null = $derived(timeOf(router.query.get('at')));
  folded = $state.raw<ReadonlySet<number>>(NOBODY);
  /** The class of the legend that alone is bright. */
  chosen = $state<string | null>(null);
  typed = $state('');
  frozen = $state.raw<Tree | null>(null);
  images = $state.raw<readonly Firmware[]>([]);
  past = $state.raw<Past | null>(null);
  loading = $state(false);
  trouble = $state<string | null>(null);

  #mesh: string | null = null;
  #last: Tree | null = null;
  #asked: AbortController | null = null;

  /** The tree as it is. The same object while nothing in it changes, so that nothing is laid out again. */
  now: Tree = $derived.by(() => {
    const next = buildTree(live.mesh?.gateway ?? 0, linksOf(live.list), live.list.map((node) => node.id));
    if (this.#last && sameTree(this.#last, next)) return this.#last;
    this.#last = next;
    return next;
  });
  /** What is shown, with nothing folded. */
  tree: Tree = $derived(this.past?.tree ?? this.frozen ?? this.now);
  shownTree: Tree = $derived(fold(this.tree, this.folded));
  layout = $derived(layOut(this.shownTree, this.shape));
  /** How many nodes have no room in the picture. */
  left = $derived(Math.max(0, live.list.length - NODES_MAX));
  versions: ReadonlyMap<number, string> = $derived.by(() => {
    const rollouts = [...live.rollouts.values()].sort((a, b) => b.id - a.id);
    const found = new Map<number, string>();
    for (const node of live.list) {
      const { version } = running(node, this.images, rollouts);
      if (version !== null) found.set(node.id, version);
    }
    return found;
  });
  #seen: ReadonlyMap<number, Seen & { id: number }> = $derived.by(() => {
    const all = new Map<number, Seen & { id: number }>();
    const see = (id: number, depth: number | null) =>
      all.set(id, { id, node: live.nodes.get(id), depth, version: this.versions.get(id) ?? null });
    for (const place of this.tree.places.values()) see(place.id, place.depth);
    for (const id of this.tree.apart) see(id, null);
    return all;
  });
  /** Nodes that have a class: of the gateway itself nobody tells state or score. */
  #classed = $derived([...this.#seen.values()].filter((seen) => seen.node || this.mode === 'depth' || this.past));
  scale: Scale = $derived.by(() => {
    if (!this.past) return scaleOf(this.mode, this.#classed);
    const then = scaleOfThen(this.past.tree, this.now, this.past.uncertain);
    return asScale(then, (seen) => (seen as Seen & { id: number }).id);
  });
  legend: LegendItem[] = $derived(this.scale.legend(this.#classed));
  picture: Picture = $derived(
    pictureOf({
      tree: this.shownTree,
      layout: this.layout,
      scale: this.scale,
      folded: this.folded,
      now: this.past === null,
      seen: (id) => this.seen(id),
      label: (id) => this.name(id),
      state: (node) => (this.past ? 'not known then' : node ? plain(node.state) : 'not known'),
    }),
  );
  path: ReadonlySet<number> = $derived(this.selected === null ? NOBODY : new Set(pathToGateway(this.tree, this.selected)));
  found: number[] = $derived(find(this.#findable(), this.typed));
  /** Nodes that stay bright, when somebody looks for some. */
  hits: ReadonlySet<number> | null = $derived.by(() => {
    if (this.typed.trim()) return new Set(this.found);
    if (this.chosen === null) return null;
    const same = this.#classed.filter((seen) => this.scale.of(seen).key === this.chosen);
    return new Set(same.map((seen) => seen.id));
  });
  /** When the tree changed, as far as its events are known. */
  changes: number[] = $derived(changes(live.events));

  seen(id: number): Seen {
    return this.#seen.get(id) ?? ({ id, node: undefined, depth: null, version: null } as Seen);
  }

  name(id: number): string {
    if (id === this.tree.gateway) return 'gateway';
    const node = live.nodes.get(id);
    return node ? nodeName(node) : String(id);
  }

  look(id: number): string {
    return this.scale.of(this.seen(id)).label;
  }

  *#findable(): Generator<Node> {
    for (const id of this.#seen.keys()) {
      const node = live.nodes.get(id);
      if (node) yield node;
      else if (id !== this.tree.gateway) yield { id, facts: [] } as unknown as Node;
    }
  }

  select(id: number | null): void {
    router.set({ node: id === null ? null : String(id) });
    if (id !== null) this.folded = unfoldTo(this.tree, this.folded, id);
  }

  toggleFold(id: number): void {
    if ((this.tree.places.get(id)?.children.length ?? 0) === 0) return;
    const next = new Set(this.folded);
    if (!next.delete(id)) next.add(id);
    this.folded = next;
  }

  /** Folds everything below a depth; `null` opens all. */
  foldBelow(depth: number | null): void {
    const below = [...this.tree.places.values()].filter((place) => place.depth === depth && place.children.length > 0);
    this.folded = new Set(below.map((place) => place.id));
  }

  freeze(): void {
    this.frozen = this.frozen ? null : this.now;
  }

  show(choice: { shape?: Shape; mode?: Mode; table?: boolean }): void {
    if (choice.shape) router.set({ layout: choice.shape === 'layered' ? null : choice.shape });
    if (choice.mode) {
      this.chosen = null;
      router.set({ colour: choice.mode === 'state' ? null : choice.mode });
    }
    if (choice.table !== undefined) router.set({ as: choice.table ? 'table' : null });
  }

  /** Goes to a time, in ms since 1970; `null` is now. */
  goTo(at: number | null): void {
    this.chosen = null;
    router.set({ at: at === null ? null : new Date(at).toISOString() });
  }

  async loadImages(): Promise<void> {
    try {
      this.images = (await api.get('/api/v1/firmware')).items;
    } catch {
      // Versions are then called by their digits.
    }
  }

  /** Brings the tree of the time in the address. */
  async loadPast(at: string | null): Promise<void> {
    this.#asked?.abort();
    this.trouble = null;
    if (at === null) {
      this.past = null;
      this.loading = false;
      return;
    }
    const asked = new AbortController();
    this.#asked = asked;
    this.loading = true;
    try {
      this.#mesh ??= (await api.get('/api/v1/meshes', { signal: asked.signal })).items[0]?.id ?? '';
      const sent = { path: { mesh: this.#mesh }, query: { at }, signal: asked.signal };
      const found = await api.get('/api/v1/meshes/{mesh}/topology/history', sent);
      if (asked.signal.aborted) return;
      this.past = { at, tree: buildTree(found.gateway, found.links), uncertain: found.uncertain ?? [] };
    } catch (error) {
      if (asked.signal.aborted) return;
      this.past = null;
      const gone = error instanceof ApiError && error.status === 404;
      this.trouble = gone ? 'The tree of that time is not kept. What is shown is the tree of now.' : words(error);
    }
    this.loading = false;
  }

  /** The page is left: what has been asked for is not waited for. */
  stop(): void {
    this.#asked?.abort();
  }

  scene() {
    const at = this.past?.at ?? new Date(clock.read()).toISOString();
    return sceneOf(this.picture, 'Mesh topology', at, this.legend);
  }
}

function idOf(text: string | null): number | null {
  return text !== null && /^\d{1,10}$/.test(text) ? Number(text) : null;
}

function timeOf(text: string | null): string | null {
  return text !== null && Number.isFinite(Date.parse(text)) ? text : null;
}
