// What a state means, in one place: a word, a shape, and how much it hurts.

import { now } from "./api";
import type { Edge, Gateway, Path, Site } from "./types";

/** An edge that has told nothing for so long does not see the controller, whatever its connection says. */
const SILENT_MS = 10_000;

export type Mark = "good" | "warn" | "bad" | "off";

export interface Health {
  mark: Mark;
  word: string;
}

export const violated = (path: Path): boolean =>
  path.state === "up" && [path.a, path.b].some((end) => end.violates.length > 0);

/** Nothing goes over a path that is down, even if an end that can't be heard said so before. */
export const carries = (path: Path): boolean =>
  path.state !== "down" && path.a.selected_for.length + path.b.selected_for.length > 0;

export const silent = (edge: Edge): boolean => edge.connected && now() - edge.last_seen_unix_ms > SILENT_MS;

export function ofPath(path: Path): Health {
  if (path.state === "down") return { mark: "bad", word: "down" };
  if (path.state === "connecting") return { mark: "off", word: "connecting" };
  return violated(path) ? { mark: "warn", word: "misses SLA" } : { mark: "good", word: "up" };
}

/** What a line stands for that stands for several paths. */
export function ofTunnel(paths: Path[]): Mark {
  const up = paths.filter((path) => path.state === "up").length;
  if (up > 0) return up === paths.length ? "good" : "warn";
  return paths.some((path) => path.state === "down") ? "bad" : "off";
}

export function ofGateway({ state, manual }: Pick<Gateway, "state" | "manual">): Health {
  switch (state) {
    // Nobody tells what is at the other end of a manual tunnel.
    case "up":
      return manual ? { mark: "good", word: "ready" } : { mark: "good", word: "up" };
    case "waiting":
      return { mark: "off", word: "waits for a packet" };
    case "authenticated":
      return { mark: "warn", word: "authenticated" };
    case "blocked":
      return { mark: "bad", word: "blocked" };
    default:
      return { mark: "off", word: state };
  }
}

export const at = (path: Path, edge: string, uplink: string): boolean =>
  [path.a, path.b].some((end) => end.edge === edge && end.uplink === uplink);

/** An uplink is as good as what goes over it: down if all of its paths are while the edge can be heard. */
export function ofUplink(edge: Edge, name: string, paths: Path[]): Health {
  const uplink = edge.uplinks.find((u) => u.name === name);
  if (uplink?.carrier === false) return { mark: "bad", word: "no carrier" };
  const over = paths.filter((path) => at(path, edge.name, name));
  const up = over.filter((path) => path.state === "up").length;
  const drained = uplink?.drained ? ", drained" : "";
  if (over.length === 0) return { mark: "off", word: `no paths${drained}` };
  if (up === 0 && over.some((path) => path.state === "down")) return { mark: "bad", word: `down${drained}` };
  if (up === 0) return { mark: "off", word: `connecting${drained}` };
  if (up < over.length) return { mark: "warn", word: `${up} of ${over.length} up${drained}` };
  return over.some(violated) ? { mark: "warn", word: `misses SLA${drained}` } : { mark: "good", word: `up${drained}` };
}

export function ofEdge(edge: Edge): Health {
  if (!edge.enrolled) return { mark: "off", word: "not enrolled" };
  if (!edge.connected) return { mark: "warn", word: "away" };
  if (silent(edge)) return { mark: "warn", word: "silent" };
  if (edge.last_nack.length > 0) return { mark: "warn", word: "refused its generation" };
  return edge.applied === edge.desired ? { mark: "good", word: "connected" } : { mark: "off", word: "converging" };
}

export function ofSite(site: Site, paths: Path[]): Health {
  const edges = new Set(site.edges.map((edge) => edge.name));
  const own = paths.filter((path) => edges.has(path.a.edge) || edges.has(path.b.edge));
  const up = own.filter((path) => path.state === "up").length;
  if (site.edges.every((edge) => !edge.enrolled)) return { mark: "off", word: "not enrolled" };
  if (own.length > 0 && up === 0) return { mark: "bad", word: "cut off" };
  if (site.edges.some((edge) => !edge.connected)) return { mark: "warn", word: "away" };
  if (up < own.length) return { mark: "warn", word: "degraded" };
  return own.some((path) => carries(path) && violated(path))
    ? { mark: "warn", word: "misses SLA" }
    : { mark: "good", word: "good" };
}

/** One that failed seen from one end fails the other end's uplink only if everything over that one does. */
export interface Hurt {
  mark: Mark;
  what: string;
  detail: string;
  site: string;
}

export function hurts(sites: Site[], paths: Path[]): Hurt[] {
  const found: Hurt[] = [];
  for (const site of sites) {
    const whole = ofSite(site, paths);
    if (whole.mark === "bad") found.push({ mark: "bad", what: site.name, detail: "no path is up", site: site.name });
    for (const edge of site.edges) {
      const seen = ofEdge(edge);
      if (seen.mark === "warn") {
        const nack = edge.last_nack[0];
        const detail = nack && edge.connected ? `${nack.message}: ${nack.mend}` : seen.word;
        found.push({ mark: "warn", what: edge.name, detail, site: site.name });
      }
      if (whole.mark === "bad") continue;
      for (const uplink of edge.uplinks) {
        const health = ofUplink(edge, uplink.name, paths);
        if (health.mark === "bad") {
          found.push({ mark: "bad", what: `${site.name} ${uplink.name}`, detail: `uplink ${health.word}`, site: site.name });
        }
      }
    }
  }
  for (const path of paths) {
    if (!carries(path)) continue;
    const reason = [path.a, path.b].flatMap((end) => end.violates.map((v) => v.reason))[0];
    if (reason !== undefined && path.state === "up") {
      const what = `${path.a.site} ${path.a.uplink} — ${path.b.site} ${path.b.uplink}`;
      found.push({ mark: "warn", what, detail: reason || "in use, misses its SLA", site: path.a.site });
    }
  }
  return found.sort((a, b) => Number(b.mark === "bad") - Number(a.mark === "bad"));
}
