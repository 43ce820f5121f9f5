// What firmware is called: images that were uploaded, by the number that nodes tell of what they run.
//
// Fetched once for all pages, and again when an update has begun since.

import { api } from './api';
import { live } from './live.svelte';
import { fact, metric } from './nodes';
import type { Firmware, Node } from './types';

class Images {
  list = $state.raw<Firmware[]>([]);
  #asked = '';

  /** Fetches them, unless nothing can have changed. */
  async load(): Promise<void> {
    const key = [...live.rollouts.keys()].join();
    if (this.#asked === `-${key}`) return;
    this.#asked = `-${key}`;
    try {
      this.list = (await api.get('/api/v1/firmware')).items;
    } catch {
      // Names are a convenience: without them the numbers are shown.
      this.#asked = '';
    }
  }

  /** The image that a node runs, if it was uploaded here. */
  of(node: Node): Firmware | null {
    const md5 = fact(node, 'firmware_md5');
    const id = metric(node, 'firmware_id');
    const start = id === null ? null : id.toString(16).padStart(8, '0');
    return (
      this.list.find((image) => (md5 ? image.md5 === md5 : false)) ??
      (start ? (this.list.find((image) => image.sha256.startsWith(start)) ?? null) : null)
    );
  }
}

export const images = new Images();
