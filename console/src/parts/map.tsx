// The topology: hubs above, branches below, each uplink a port, each path a line between two ports. A large fleet has a
// dot for each site and a line for each tunnel.

import { carries, ofPath, ofSite, ofTunnel, ofUplink } from "../health";
import { link } from "../router";
import type { Edge, Path, Site } from "../types";
import { Shape } from "./state";

/** More sites than this are dots. */
const MAX_CARDS = 14;
const CARD_W = 168;
const CARD_H = 76;
const GAP = 44;
const ROW = 8;

interface Port {
  edge: Edge;
  uplink: string;
  x: number;
  y: number;
  label: string;
}

interface Card {
  site: Site;
  x: number;
  y: number;
  above: boolean;
  ports: Port[];
}

interface Laid {
  cards: Card[];
  width: number;
  height: number;
}

function lay(sites: Site[]): Laid {
  const hubs = sites.filter((site) => site.role === "hub");
  const others = sites.filter((site) => site.role !== "hub");
  const rows: { sites: Site[]; above: boolean }[] = [];
  // Without a hub every site is like every other: two rows, so that lines have room.
  const [top, bottom] =
    hubs.length > 0 ? [hubs, others] : [others.slice(0, Math.ceil(others.length / 2)), others.slice(Math.ceil(others.length / 2))];
  if (top.length > 0) rows.push({ sites: top, above: true });
  for (let n = 0; n < bottom.length; n += ROW) rows.push({ sites: bottom.slice(n, n + ROW), above: false });
  const widest = Math.max(1, ...rows.map((row) => row.sites.length));
  const width = Math.max(560, widest * (CARD_W + GAP) + GAP);
  const cards: Card[] = [];
  let y = 16;
  rows.forEach((row, n) => {
    if (n > 0) y += n === 1 ? 150 : 60;
    const step = width / row.sites.length;
    row.sites.forEach((site, i) => {
      const x = step * (i + 0.5) - CARD_W / 2;
      cards.push({ site, x, y, above: row.above, ports: ports(site, x, y, row.above) });
    });
    y += CARD_H;
  });
  return { cards, width, height: y + 16 };
}

function ports(site: Site, x: number, y: number, above: boolean): Port[] {
  const all = site.edges.flatMap((edge) => edge.uplinks.map((uplink) => ({ edge, uplink: uplink.name })));
  return all.map((port, n) => ({
    ...port,
    label: site.edges.length > 1 ? `${port.edge.name} ${port.uplink}` : port.uplink,
    x: x + (CARD_W * (n + 0.5)) / all.length,
    y: above ? y + CARD_H : y,
  }));
}

export function Map({ sites, paths }: { sites: Site[]; paths: Path[] }) {
  if (sites.length === 0) return <p class="note">No document was applied yet: there are no sites.</p>;
  return sites.length > MAX_CARDS ? <Dots sites={sites} paths={paths} /> : <Cards sites={sites} paths={paths} />;
}

function Cards({ sites, paths }: { sites: Site[]; paths: Path[] }) {
  const { cards, width, height } = lay(sites);
  const port = (edge: string, uplink: string) =>
    cards.flatMap((card) => card.ports.map((p) => ({ card, ...p }))).find((p) => p.edge.name === edge && p.uplink === uplink);
  // What is in use is drawn last, above the others.
  const sorted = [...paths].sort((a, b) => Number(carries(a)) - Number(carries(b)));
  return (
    <svg class="map" viewBox={`0 0 ${width} ${height}`} role="group" aria-label="Map of the fleet" style={{ maxWidth: `${width * 1.1}px` }}>
      {sorted.map((path) => {
        const [a, b] = [port(path.a.edge, path.a.uplink), port(path.b.edge, path.b.uplink)];
        if (!a || !b) return null;
        const bend = (p: { card: Card; y: number }) => (p.card.above ? p.y + 74 : p.y - 74);
        const d = `M${a.x} ${a.y}C${a.x} ${bend(a)} ${b.x} ${bend(b)} ${b.x} ${b.y}`;
        const health = ofPath(path);
        const used = carries(path);
        const name = `${path.a.site} ${path.a.uplink} – ${path.b.site} ${path.b.uplink}${path.ipv6 ? " (IPv6)" : ""}: ${health.word}${used ? ", in use" : ""}`;
        // Where a cubic of these control points is half way.
        const mid = { x: (a.x + b.x) / 2, y: (a.y + 3 * bend(a) + 3 * bend(b) + b.y) / 8 };
        const third = { x: a.x + (b.x - a.x) * 0.26, y: a.y * 0.296 + bend(a) * 0.444 + bend(b) * 0.222 + b.y * 0.037 };
        const spot = path.id % 2 ? third : mid;
        return (
          <a key={path.id} href={link("paths", path.id)} class={`line ${health.mark}${used ? " used" : ""}`} aria-label={name} data-path={path.id}>
            <title>{name}</title>
            <path class="grip" d={d} />
            <path class="wire" d={d} />
            {health.mark !== "good" && (
              <>
                <circle class="plate" cx={spot.x} cy={spot.y} r="9" />
                <Shape mark={health.mark} x={spot.x} y={spot.y} r={5} />
              </>
            )}
          </a>
        );
      })}
      {cards.map((card) => (
        <SiteCard key={card.site.name} card={card} paths={paths} />
      ))}
    </svg>
  );
}

function SiteCard({ card, paths }: { card: Card; paths: Path[] }) {
  const { site, x, y, above } = card;
  const health = ofSite(site, paths);
  const ports = card.ports.map((port) => ({ ...port, health: ofUplink(port.edge, port.uplink, paths) }));
  const title = above ? y + 27 : y + CARD_H - 30;
  return (
    <a href={link("sites", site.name)} class={`card ${health.mark}`} data-site={site.name}>
      <rect x={x} y={y} width={CARD_W} height={CARD_H} rx="7" />
      <Shape mark={health.mark} x={x + 18} y={title - 5} r={5.5} />
      <text class="name" x={x + 32} y={title}>{site.name}</text>
      <text class="sub" x={x + CARD_W - 12} y={title} text-anchor="end">{site.role}</text>
      <text class="sub" x={x + 32} y={title + 17}>{health.word}</text>
      {ports.map((port) => (
        <g key={`${port.edge.name}/${port.uplink}`} class={`port ${port.health.mark}`}>
          <circle class="plate" cx={port.x} cy={port.y} r="7" />
          <Shape mark={port.health.mark} x={port.x} y={port.y} r={4.5} />
          <text x={port.x} y={above ? port.y - 12 : port.y + 20} text-anchor="middle">{port.label}</text>
        </g>
      ))}
    </a>
  );
}

const RING = 38;

function Dots({ sites, paths }: { sites: Site[]; paths: Path[] }) {
  const hubs = sites.filter((site) => site.role === "hub");
  const others = sites.filter((site) => site.role !== "hub");
  const spots: Record<string, { x: number; y: number }> = {};
  const around = (list: Site[], radius: number) =>
    list.forEach((site, n) => {
      const turn = (2 * Math.PI * n) / list.length - Math.PI / 2;
      spots[site.name] = { x: radius * Math.cos(turn), y: radius * Math.sin(turn) };
    });
  around(hubs, hubs.length > 1 ? 26 + hubs.length * 6 : 0);
  // Rings, each with as many as fit.
  let radius = Math.max(150, 60 + hubs.length * 12);
  for (let n = 0; n < others.length; ) {
    const room = Math.floor((2 * Math.PI * radius) / 30);
    const left = others.length - n;
    around(others.slice(n, n + Math.min(room, left)), radius);
    n += room;
    radius += RING;
  }
  const size = radius + 10;
  const tunnels: Record<string, Path[]> = {};
  for (const path of paths) (tunnels[`${path.a.site}\n${path.b.site}`] ??= []).push(path);
  return (
    <svg class="map dots" viewBox={`${-size} ${-size} ${2 * size} ${2 * size}`} role="group" aria-label="Map of the fleet">
      {Object.entries(tunnels).map(([key, over]) => {
        const [a, b] = key.split("\n").map((name) => spots[name]);
        if (!a || !b) return null;
        return (
          <g key={key} class={`line ${ofTunnel(over)}`}>
            <path class="wire" d={`M${a.x} ${a.y}L${b.x} ${b.y}`} />
          </g>
        );
      })}
      {sites.map((site) => {
        const spot = spots[site.name];
        if (!spot) return null;
        const health = ofSite(site, paths);
        const name = `${site.name}, ${site.role}: ${health.word}`;
        return (
          <a key={site.name} href={link("sites", site.name)} class={`dot ${health.mark}`} aria-label={name}>
            <title>{name}</title>
            <circle class="plate" cx={spot.x} cy={spot.y} r="11" />
            <Shape mark={health.mark} x={spot.x} y={spot.y} r={site.role === "hub" ? 8 : 5.5} />
            {(site.role === "hub" || health.mark === "bad") && <text x={spot.x} y={spot.y + 20} text-anchor="middle">{site.name}</text>}
          </a>
        );
      })}
    </svg>
  );
}
