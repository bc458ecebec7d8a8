// What is pure: words, figures, differences, health.

import assert from "node:assert/strict";
import { test } from "node:test";
import { lineDiff } from "../src/diff.ts";
import { bytes, ms, percent, span } from "../src/format.ts";
import { carries, hurts, ofGateway, ofSite, ofTunnel, ofUplink } from "../src/health.ts";
import { sentence, verdict } from "../src/words.ts";

const end = (site, uplink, more = {}) => ({ site, edge: `${site}-1`, uplink, selected_for: [], violates: [], ...more });
const path = (id, state, b, more) => ({ id, state, a: end("b1", b, more), b: end("hq", "isp-a") });
const uplink = (name) => ({ name, carrier: true, drained: false });
const site = () => ({
  name: "b1",
  role: "spoke",
  edges: [{ name: "b1-1", enrolled: true, connected: true, last_seen_unix_ms: Date.now(), last_nack: [], applied: "1.2", desired: "1.2", uplinks: [uplink("isp-a"), uplink("isp-b")] }],
});

test("figures have their units, and what is not known is a dash", () => {
  assert.deepEqual([ms(20_149), ms(null), ms(0)], ["20.1 ms", "–", "0.0 ms"]);
  assert.deepEqual([percent(0), percent(400), percent(13_400), percent(undefined)], ["0 %", "< 0.1 %", "1.3 %", "–"]);
  assert.deepEqual([bytes(999), bytes(1_500), bytes(2_500_000)], ["999 B", "1.5 kB", "2.5 MB"]);
  assert.deepEqual([span(0), span(65_000), span(90_000_000), span(3_600_000)], ["0 s", "1 min 5 s", "1 d 1 h", "1 h"]);
});

test("a difference has what is cut, what is added, and three lines around", () => {
  const before = Array.from({ length: 20 }, (_, n) => `line ${n}`).join("\n");
  const told = lineDiff(before, before.replace("line 10", "line ten"));
  assert.deepEqual(told.map((l) => l.kind), ["same", "same", "same", "cut", "add", "same", "same", "same", "gap"]);
  assert.deepEqual(lineDiff(before, before), []);
  assert.deepEqual(lineDiff("", "a\nb\n").map((l) => l.kind), ["add", "add"]);
  // Short enough that nothing is left out: what is not cut is the new text.
  const random = (n) => Array.from({ length: n }, () => "abc"[Math.floor(Math.random() * 3)]);
  for (let run = 0; run < 200; run += 1) {
    const [a, b] = [random(4), random(4)];
    const rebuilt = lineDiff(a.join("\n"), b.join("\n")).filter((l) => l.kind !== "cut").map((l) => l.text);
    if (a.join() !== b.join()) assert.deepEqual(rebuilt, b, `${a} ${b}`);
  }
});

test("a decision is told in the words of the command line", () => {
  const decision = {
    from_path_id: 4, to_path_id: 1, cause: "PATH_DOWN", prefixes: [],
    candidates: [{ path_id: 1, name: "isp-a → hq-1 isp-a" }],
  };
  assert.equal(sentence(decision), "It moved from path 4 to isp-a → hq-1 isp-a (path 1), because the path it was on went down.");
  assert.equal(sentence({ ...decision, to_path_id: 0, cause: "NONE_LEFT" }), "It left path 4 and has no path now, because none is left that works.");
  assert.equal(sentence({ ...decision, from_path_id: 0, cause: "START" }), "It takes isp-a → hq-1 isp-a (path 1), as its first choice.");
  assert.equal(sentence({ ...decision, from_path_id: 1, cause: "NEW_ONE" }), "It stays on isp-a → hq-1 isp-a (path 1), because of NEW_ONE.");
  const hop = { prefixes: ["10.0.0.0/8"], from_next_hop: "hq-1", to_next_hop: "", cause: "PATH_DOWN", candidates: [] };
  assert.equal(sentence(hop), "It left hq-1 and has no next hop now, because it is not reached any more.");
  const refused = { chosen: false, refused_because: "it is down", confidence_ppm: 990_000, limits_crossed: ["loss 3 %"] };
  assert.equal(verdict(refused), "refused: it is down, 99 % sure (loss 3 %)");
});

test("an uplink is down when all that goes over it is, and its site is degraded", () => {
  const paths = [path(1, "down", "isp-a"), path(2, "up", "isp-b")];
  const b1 = site();
  assert.deepEqual(ofUplink(b1.edges[0], "isp-a", paths), { mark: "bad", word: "down" });
  assert.deepEqual(ofUplink(b1.edges[0], "isp-b", paths), { mark: "good", word: "up" });
  assert.equal(ofSite(b1, paths).word, "degraded");
  assert.deepEqual(hurts([b1], paths).map((h) => [h.what, h.detail]), [["b1 isp-a", "uplink down"]]);
  const tunnel = (...states) => ofTunnel(states.map((state, n) => path(n, state, "isp-a")));
  assert.deepEqual([tunnel("up", "up"), tunnel("up", "connecting"), tunnel("connecting", "down"), tunnel("connecting")], ["good", "warn", "bad", "off"]);
  assert.equal(ofSite(b1, [path(1, "down", "isp-a")]).word, "cut off");
});

test("nothing goes over a path that is down, and what misses its SLA in use hurts", () => {
  assert.equal(carries(path(1, "down", "isp-a", { selected_for: ["default"] })), false);
  const bad = path(1, "up", "isp-a", { selected_for: ["default"], violates: [{ sla_class: "business", reason: "loss 28 %" }] });
  const fine = path(2, "up", "isp-b");
  assert.deepEqual(hurts([site()], [bad, fine]).map((h) => [h.mark, h.detail]), [["warn", "loss 28 %"]]);
});

test("a tunnel with a gateway says how it is, and one under manual keys claims nothing about its peer", () => {
  const words = (manual) => ["up", "waiting", "authenticated", "connecting", "blocked", "unknown"].map((state) => ofGateway({ state, manual }));
  assert.deepEqual(words(false).map((h) => h.word), ["up", "waits for a packet", "authenticated", "connecting", "blocked", "unknown"]);
  assert.deepEqual(words(false).map((h) => h.mark), ["good", "off", "warn", "off", "bad", "off"]);
  assert.deepEqual(words(true)[0], { mark: "good", word: "ready" });
});

test("an edge that tells nothing is silent whatever its connection says", () => {
  const b1 = site();
  b1.edges[0].last_seen_unix_ms = Date.now() - 60_000;
  assert.deepEqual(hurts([b1], [path(1, "up", "isp-a"), path(2, "up", "isp-b")]).map((h) => h.detail), ["silent"]);
});
