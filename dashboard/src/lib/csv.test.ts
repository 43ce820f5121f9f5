import { expect, it } from 'vitest';
import { cell, csv } from './csv';

it('escapes what would end a cell', () => {
  for (const [value, expected] of [
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['two\nlines', '"two\nlines"'],
    ['a;b', '"a;b"'],
    ['', ''],
    [null, ''],
    [undefined, ''],
    [0, '0'],
    [Number.NaN, ''],
  ] as const) {
    expect(cell(value), String(value)).toBe(expected);
  }
});

it('makes no formula of a text, and no text of a number', () => {
  for (const [value, expected] of [
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    [' =1', "' =1"],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    ['=HYPERLINK("http://x","y")', '"\'=HYPERLINK(""http://x"",""y"")"'],
    ['a=1', 'a=1'],
    [-61, '-61'],
  ] as const) {
    expect(cell(value), String(value)).toBe(expected);
  }
});

it('writes a table as the standard has it', () => {
  expect(csv(['id', 'name'], [[7, 'a,b'], [8, null]])).toBe('id,name\r\n7,"a,b"\r\n8,\r\n');
});
