// Lines that differ, with a few around them.

export interface DiffLine {
  kind: "same" | "add" | "cut" | "gap";
  text: string;
}

const CONTEXT = 3;
/** Beyond so many cells the middle is told as cut and added. */
const MAX_CELLS = 4_000_000;

export function lineDiff(before: string, after: string): DiffLine[] {
  const [a, b] = [before, after].map((text) => (text === "" ? [] : text.replace(/\n$/, "").split("\n"))) as [string[], string[]];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const all: DiffLine[] = [
    ...same(a.slice(0, head)),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...same(a.slice(a.length - tail)),
  ];
  return around(all);
}

const same = (lines: string[]): DiffLine[] => lines.map((text) => ({ kind: "same", text }));

/** By the longest common subsequence. */
function middle(a: string[], b: string[]): DiffLine[] {
  const add = (text: string): DiffLine => ({ kind: "add", text });
  const cut = (text: string): DiffLine => ({ kind: "cut", text });
  if (a.length * b.length > MAX_CELLS) return [...a.map(cut), ...b.map(add)];
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number) => longest[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const out: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [x, y] = [a[i], b[j]];
    if (x !== undefined && x === y) {
      out.push({ kind: "same", text: x });
      i += 1;
      j += 1;
    } else if (y === undefined || (x !== undefined && at(i + 1, j) >= at(i, j + 1))) {
      out.push(cut(x ?? ""));
      i += 1;
    } else {
      out.push(add(y));
      j += 1;
    }
  }
  return out;
}

function around(all: DiffLine[]): DiffLine[] {
  const near = all.map((_, n) => all.slice(Math.max(0, n - CONTEXT), n + CONTEXT + 1).some((line) => line.kind !== "same"));
  return all.flatMap((line, n): DiffLine[] => {
    if (near[n]) return [line];
    return n > 0 && near[n - 1] ? [{ kind: "gap", text: "" }] : [];
  });
}
