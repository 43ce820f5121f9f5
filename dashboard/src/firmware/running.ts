// Which image a node runs, on which hardware and in which role, as far as anybody has told.
//
// It refuses to guess: what nobody told is `null`. An image is known by the first digits of its SHA-256 that
// telemetry brings, by an MD5, or by a roll-out that asked or proved it; a version alone is what the node calls it.

import type { Firmware, Node, Rollout } from '../lib/types';

export interface Running {
  /** What people call the version. */
  version: string | null;
  /** The kept image that it is, by its SHA-256. */
  sha256: string | null;
  /** Digits that name the image where none is kept: of its SHA-256 or MD5. */
  digits: string | null;
  hardware: string | null;
  role: string | null;
  /** When it was told, and by what. */
  observedAt: string | null;
  source: string | null;
}

/** What an image is called: by its author's manifest, by its description, by its file. */
export function imageName(image: Firmware): string {
  return image.manifest?.version || image.name || image.version || image.sha256.slice(0, 16);
}

/** The eight digits with which `firmware_id` of telemetry begins an image's SHA-256. */
export function digitsOf(firmwareId: number): string {
  return (firmwareId >>> 0).toString(16).padStart(8, '0');
}

interface Word {
  text: string;
  observed_at: string;
  source: string;
}

function fact(node: Node, topic: string): Word | null {
  return node.facts?.find((each) => each.topic === topic && each.text !== '') ?? null;
}

interface Proof {
  image: Firmware | null;
  digits: string | null;
  role: string | null;
  at: string;
  source: string;
}

/** Everything by which a node's image is known, the newest first. */
function proofs(node: Node, images: readonly Firmware[], rollouts: readonly Rollout[]): Proof[] {
  const found: Proof[] = [];
  const id = node.metrics?.find((metric) => metric.name === 'firmware_id');
  if (id && id.value > 0) {
    const digits = digitsOf(id.value);
    const image = images.find((each) => each.sha256.startsWith(digits)) ?? null;
    found.push({ image, digits, role: null, at: id.observed_at, source: id.source });
  }
  const md5 = fact(node, 'firmware_md5');
  if (md5) {
    const image = images.find((each) => each.md5 === md5.text.toLowerCase()) ?? null;
    found.push({ image, digits: md5.text.slice(0, 8), role: null, at: md5.observed_at, source: md5.source });
  }
  for (const rollout of rollouts) {
    const asked = rollout.forecast?.groups.find((group) => group.nodes.includes(node.id));
    if (asked?.running) {
      const { id } = asked.running;
      const image = images.find((each) => each.sha256.startsWith(id)) ?? null;
      found.push({ image, digits: id.slice(0, 8), role: asked.role ?? null, at: rollout.started_at, source: 'survey' });
    }
    const line = rollout.nodes.find((each) => each.id === node.id);
    if (line?.state !== 'updated') continue;
    const at = rollout.finished_at ?? rollout.started_at;
    found.push({ image: rollout.firmware, digits: rollout.firmware.sha256.slice(0, 8), role: rollout.role, at, source: 'update' });
  }
  return found.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

/** The role and hardware by which roll-outs know a node. */
function grouped(node: Node, rollouts: readonly Rollout[]): { hardware: string | null; role: string | null } {
  for (const rollout of rollouts) {
    const group = rollout.forecast?.groups.find((each) => each.nodes.includes(node.id));
    if (group?.hardware || group?.role) return { hardware: group.hardware ?? null, role: group.role ?? null };
  }
  return { hardware: null, role: null };
}

export function running(node: Node, images: readonly Firmware[], rollouts: readonly Rollout[]): Running {
  const best = proofs(node, images, rollouts)[0] ?? null;
  const told = fact(node, 'version');
  const known = grouped(node, rollouts);
  const manifest = best?.image?.manifest ?? null;
  return {
    version: best?.image ? imageName(best.image) : (told?.text ?? best?.digits ?? null),
    sha256: best?.image?.sha256 ?? null,
    digits: best?.digits ?? null,
    hardware: fact(node, 'hardware')?.text ?? manifest?.hardware ?? known.hardware,
    role: manifest?.role ?? best?.role ?? known.role,
    observedAt: best?.at ?? told?.observed_at ?? null,
    source: best?.source ?? told?.source ?? null,
  };
}
