// What was decided and why, in the words of `hawser why`.

import type { Candidate, Decision } from "./types";

const OF_HOPS: Record<string, string> = {
  PATH_DOWN: "because it is not reached any more",
  SLA_VIOLATED: "because it no longer met its SLA on any path",
  FAIL_BACK: "because that one has been good for long enough",
  BETTER_PATH: "because that one is better",
};

const BECAUSE: Record<string, string> = {
  START: "as its first choice",
  NEXT_HOP_DOWN: "because no path to it works",
  WITHDRAWN: "because it said that it can't get there any more",
  DRAINED: "because it, or one on its way, is drained",
  DETOUR: "because it goes through another next hop itself",
  ADVICE: "because the controller advises against it",
  PATH_DOWN: "because the path it was on went down",
  SLA_VIOLATED: "because the path it was on no longer met its SLA",
  FAIL_BACK: "because the preferred path has been good for long enough",
  BETTER_PATH: "because that path is better",
  CONFIG: "because the configuration changed",
  MEMBERS: "and what carries beside it changed",
  NONE_LEFT: "because none is left that works",
};

const isHop = (decision: Decision): boolean => decision.prefixes.length > 0;

// Links of tunnels with gateways: their numbers are for machines only, and they have no chart.
const FIRST_IKE_LINK_ID = 2 ** 24;

export const isPath = (id: number): boolean => id > 0 && id < FIRST_IKE_LINK_ID;

function name(id: number, candidates: Candidate[]): string {
  const found = candidates.find((candidate) => candidate.path_id === id);
  if (found?.name && !isPath(id)) return found.name;
  return found?.name ? `${found.name} (path ${id})` : `path ${id}`;
}

function moved(from: string, to: string): string {
  if (!from && !to) return "";
  if (!from) return `It takes ${to}`;
  return `It moved from ${from} to ${to}`;
}

function what(d: Decision): string {
  const [from, to] = isHop(d)
    ? [d.from_next_hop, d.to_next_hop]
    : [d.from_path_id ? name(d.from_path_id, d.candidates) : "", d.to_path_id ? name(d.to_path_id, d.candidates) : ""];
  const kind = isHop(d) ? "next hop" : "path";
  if (from && !to) return `It left ${from} and has no ${kind} now`;
  if (from && from === to) return `It stays ${isHop(d) ? "with" : "on"} ${to}`;
  return moved(from, to) || `It has no ${kind}`;
}

export function sentence(d: Decision): string {
  const because = (isHop(d) ? OF_HOPS[d.cause] : undefined) ?? BECAUSE[d.cause] ?? `because of ${d.cause}`;
  return `${what(d)}, ${because}.`;
}

export function title(d: Decision): string {
  if (isHop(d)) return `${d.edge}, next hop of ${d.prefixes.join(", ")}`;
  // A tunnel with a gateway has no classes.
  return `${d.edge} → ${d.peer_edge}, ${d.traffic_class ? `traffic class ${d.traffic_class}` : "all traffic"}`;
}

export function label(c: Candidate): string {
  if (c.next_hop) return c.next_hop;
  if (!c.name) return `path ${c.path_id}`;
  return isPath(c.path_id) ? `${c.name} (path ${c.path_id})` : c.name;
}

export function verdict(c: Candidate): string {
  if (c.chosen) return "chosen";
  const sure = c.confidence_ppm ? `, ${Math.floor(c.confidence_ppm / 10_000)} % sure` : "";
  const text = c.refused_because ? `refused: ${c.refused_because}${sure}` : "not chosen";
  const missing = c.limits_crossed.filter((limit) => !c.refused_because.includes(limit));
  return missing.length > 0 ? `${text} (${missing.join(", ")})` : text;
}
