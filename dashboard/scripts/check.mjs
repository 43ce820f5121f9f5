// What a build must keep: the first load's size, and nothing that the page's policy would block.
//
// node scripts/check.mjs, after a build; ends with 1 when something is not kept.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Of HTML, scripts and styles that come before the first page shows, in bytes after gzip. */
const FIRST_LOAD_MAX = 150 * 1024;
/** Ways to put markup or code into the page that the policy blocks, or that let others' text become markup. */
const FORBIDDEN = [
  [/\{@html/, '{@html'],
  [/\sstyle="/, 'an inline style'],
  [/\sstyle=\{/, 'an inline style'],
  [/\bon[a-z]+="(?!\{)/, 'an inline handler'],
  [/innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, 'markup or code out of text'],
  [/\bhttps?:\/\/(?!www\.w3\.org)/, 'an address elsewhere'],
];

function files(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const packed = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
const faults = [];

for (const path of [...files('src'), 'index.html']) {
  if (!/\.(svelte|ts|html)$/.test(path) || path.includes('generated') || path.endsWith('.test.ts')) continue;
  const lines = readFileSync(path, 'utf8').split('\n');
  lines.forEach((line, index) => {
    for (const [pattern, what] of FORBIDDEN) {
      if (pattern.test(line)) faults.push(`${path}:${index + 1}: ${what}`);
    }
  });
}

const manifest = JSON.parse(readFileSync('dist/.vite/manifest.json', 'utf8'));
const first = new Set(['index.html', 'theme.js', 'favicon.svg']);
const follow = (name) => {
  const chunk = manifest[name];
  if (!chunk || first.has(chunk.file)) return;
  first.add(chunk.file);
  for (const style of chunk.css ?? []) first.add(style);
  for (const next of chunk.imports ?? []) follow(next);
};
follow('index.html');

let total = 0;
for (const file of [...first].sort()) {
  const size = packed(join('dist', file));
  total += size;
  console.log(`${String(size).padStart(8)}  ${file}`);
}
console.log(`${String(total).padStart(8)}  first load, gzip; ${FIRST_LOAD_MAX} are the most`);
if (total > FIRST_LOAD_MAX) faults.push(`the first load has ${total} bytes: ${FIRST_LOAD_MAX} are the most`);
const rest = files('dist').filter((path) => /\.(js|css)$/.test(path));
console.log(`${String(rest.reduce((sum, path) => sum + packed(path), 0)).padStart(8)}  all scripts and styles`);

const html = readFileSync('dist/index.html', 'utf8');
if (/<script(?![^>]*\ssrc=)[^>]*>/.test(html) || /<style/.test(html)) faults.push('dist/index.html has something inline');

for (const fault of faults) console.error(fault);
process.exit(faults.length > 0 ? 1 : 0);
