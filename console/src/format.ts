// Figures as people read them; the same digits in the same places.

import { now } from "./api";

export const ms = (us: number | null | undefined): string =>
  us === null || us === undefined ? "–" : `${(us / 1_000).toFixed(1)} ms`;

export function percent(ppm: number | null | undefined): string {
  if (ppm === null || ppm === undefined) return "–";
  if (ppm === 0) return "0 %";
  return ppm < 1_000 ? "< 0.1 %" : `${(ppm / 10_000).toFixed(1)} %`;
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

const two = (n: number) => String(n).padStart(2, "0");

export function time(unixMs: number): string {
  const at = new Date(unixMs);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function day(unixMs: number): string {
  const at = new Date(unixMs);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** Today only the time, else the day too. */
export function when(unixMs: number): string {
  if (unixMs === 0) return "never";
  return day(unixMs) === day(now()) ? time(unixMs) : `${day(unixMs)} ${time(unixMs)}`;
}

export const full = (unixMs: number): string => (unixMs === 0 ? "never" : `${day(unixMs)} ${time(unixMs)}`);

/** A length of time in its two largest units. */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000));
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor(s / 3_600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(" ");
}

export const ago = (unixMs: number): string => (unixMs === 0 ? "never" : `${span(now() - unixMs)} ago`);

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
