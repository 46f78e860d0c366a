// Run: node --test static/hq/
import assert from "node:assert/strict";
import { test } from "node:test";
import { asCsv, rows } from "./csv.js";

test("rows: cells, empty ones too, with any line break", () => {
  assert.deepEqual(rows("a,b\r\n1,\n,2\r3,4"), [["a", "b"], ["1", ""], ["", "2"], ["3", "4"]]);
  assert.deepEqual(rows("a,b\n1,"), [["a", "b"], ["1", ""]]);
  assert.deepEqual(rows("a\n"), [["a"]]);
  assert.deepEqual(rows(""), [[]]);
});

test("rows: a quoted cell holds separators, line breaks and quotes", () => {
  assert.deepEqual(rows('a,b\n"x, y\r\nz","say ""hi"""\n3,4'), [["a", "b"], ["x, y\r\nz", 'say "hi"'], ["3", "4"]]);
  assert.deepEqual(rows('a\tb\n"one\ntwo"\t3'), [["a", "b"], ["one\ntwo", "3"]]);
});

test("rows: a quote that does not end, or is followed by more, stands for itself", () => {
  assert.deepEqual(rows('a,b\n"1,2\n3,5" screen'), [["a", "b"], ['"1', "2"], ["3", '5" screen']]);
  assert.deepEqual(rows('"a"b,c'), [['"a"b', "c"]]);
});

test("asCsv: CSV stays as it is; tabs become commas, and what needs quotes gets them", () => {
  assert.equal(asCsv('a,b\n"1\n2",3'), 'a,b\n"1\n2",3');
  assert.equal(asCsv('a\tb\n"one\ntwo"\t1,5\nsay "hi"\t2'), 'a,b\n"one\ntwo","1,5"\n"say ""hi""",2');
});
