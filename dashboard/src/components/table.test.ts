import { cleanup, fireEvent, render, screen } from '@testing-library/svelte';
import { tick } from 'svelte';
import { afterEach, expect, it, vi } from 'vitest';
import { columnsOf, switched } from '../lib/columns';
import { prefs } from '../lib/prefs.svelte';
import { node } from '../test/things';
import NodeTable from './NodeTable.svelte';

afterEach(cleanup);

const many = Array.from({ length: 2_000 }, (_, at) => node(at + 1));
const show = (chosen = new Set<number>()) => {
  const order = vi.fn();
  const choose = vi.fn();
  render(NodeTable, { nodes: many, sort: 'score', descending: true, order, chosen, choose });
  return { order, choose };
};

it('draws some tens of two thousand rows, and says how many there are', () => {
  show();
  const rows = document.querySelectorAll('tr.line');
  expect(rows.length).toBeGreaterThan(5);
  expect(rows.length).toBeLessThan(80);
  expect(screen.getByRole('table').getAttribute('aria-rowcount')).toBe('2001');
  expect(rows[0]?.getAttribute('aria-rowindex')).toBe('2');
});

it('says by what it is sorted, and asks for another order', async () => {
  const { order } = show();
  const heads = screen.getAllByRole('columnheader');
  expect(heads.filter((head) => head.getAttribute('aria-sort') === 'descending')).toHaveLength(1);
  await fireEvent.click(screen.getByTestId('sort-hops'));
  expect(order).toHaveBeenCalledWith('hops');
});

it('chooses one, or all, or with Shift all between', async () => {
  const { choose } = show();
  await fireEvent.click(screen.getByLabelText('Choose 2'));
  expect(choose).toHaveBeenLastCalledWith([2], true);
  await fireEvent.click(screen.getByLabelText('Choose 5'), { shiftKey: true });
  expect(choose).toHaveBeenLastCalledWith([2, 3, 4, 5], true);
  await fireEvent.click(screen.getByLabelText('Choose all 2000'));
  expect(choose.mock.lastCall?.[0]).toHaveLength(2_000);
});

it('has the columns that somebody chose, also after a reload, and the node itself always', async () => {
  const usual = columnsOf(null).map((column) => column.key);
  expect(usual).not.toContain('battery');
  const more = switched(null, 'battery');
  expect(columnsOf(more).map((column) => column.key)).toEqual([...usual, 'battery']);
  expect(switched(more, 'battery'), 'as usual again').toBeNull();
  expect(columnsOf([]).map((column) => column.key)).toEqual(['name']);
  show();
  prefs.setColumns(['hops', 'battery', 'no such']);
  await tick();
  expect(screen.getAllByRole('columnheader').map((head) => head.textContent?.trim())).toEqual(['', 'Node', 'Hops', 'Battery']);
  expect(JSON.parse(localStorage.getItem('meshward.prefs') ?? '{}').columns).toEqual(['hops', 'battery', 'no such']);
  prefs.setColumns(null);
});
