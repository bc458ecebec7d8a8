// What the fleet is like now: asked again when an event comes, and every two seconds besides.

import { useEffect, useReducer, useState } from "preact/hooks";
import { allPaths, allSites, ask, follow, told } from "./api";
import type { Event, Path, Rollout, Site, Status, Trouble } from "./types";

const EVERY_MS = 2_000;
/** A fleet that takes long to tell is asked less often. */
const REST_FACTOR = 5;
const AFTER_EVENT_MS = 150;
const EVENTS_KEPT = 500;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000];

export interface Fleet {
  status: Status;
  sites: Site[];
  paths: Path[];
  troubles: Trouble[];
  rollout: Rollout;
  at: number;
}

class Live {
  fleet: Fleet | null = null;
  error = "";
  events: Event[] = [];
  /** The stream of events is open. */
  streaming = false;
  #listeners = new Set<() => void>();
  #stop = new AbortController();
  #timer = 0;
  #busy = false;
  #again = false;
  #last: number | null = null;

  start() {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.fleet = null;
    this.events = [];
    this.#last = null;
    void this.#backlog();
    void this.#stream(this.#stop.signal);
    void this.refresh();
    document.addEventListener("visibilitychange", () => document.hidden || void this.refresh(), {
      signal: this.#stop.signal,
    });
  }

  stop() {
    this.#stop.abort();
    clearTimeout(this.#timer);
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }

  #later(ms: number) {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.refresh(), ms);
  }

  async refresh() {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    const signal = this.#stop.signal;
    this.#busy = true;
    const begun = performance.now();
    try {
      const [status, sites, paths, advice, rollout] = await Promise.all([
        ask<Status>("status"),
        allSites(),
        allPaths(),
        ask<{ troubles: Trouble[] }>("advice"),
        ask<Rollout>("rollout"),
      ]);
      this.fleet = { status, sites, paths, troubles: advice.troubles, rollout, at: Date.now() };
      this.error = "";
    } catch (error) {
      this.error = told(error);
    }
    this.#busy = false;
    if (signal.aborted) return;
    const took = performance.now() - begun;
    // Nobody looks at a hidden page: an event still wakes it.
    this.#later(this.#again ? AFTER_EVENT_MS : Math.max(EVERY_MS, took * REST_FACTOR) * (document.hidden ? 30 : 1));
    this.#again = false;
    this.#tell();
  }

  async #backlog() {
    try {
      const { events } = await ask<{ events: Event[] }>("events?limit=200");
      this.#keep(events);
    } catch {
      // The refresh tells what is wrong.
    }
  }

  #keep(events: Event[]) {
    const known = new Set(this.events.map((event) => event.sequence));
    const all = [...this.events, ...events.filter((event) => !known.has(event.sequence))];
    all.sort((a, b) => a.sequence - b.sequence);
    this.events = all.slice(-EVENTS_KEPT);
    this.#tell();
  }

  async #stream(signal: AbortSignal) {
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        await follow(
          this.#last,
          signal,
          (event) => {
            this.#last = event.sequence;
            this.#keep([event]);
            this.#later(AFTER_EVENT_MS);
          },
          () => {
            failures = 0;
            this.streaming = true;
            this.#tell();
          },
        );
      } catch {
        // Told by `streaming`.
      }
      this.streaming = false;
      if (signal.aborted) return;
      this.#tell();
      // A controller that started anew counts events from 1 again.
      if (failures > 0) this.#last = null;
      await new Promise((then) => setTimeout(then, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
    }
  }
}

export const live = new Live();

export function useLive(): Live {
  const [, again] = useReducer((n: number, _: null) => n + 1, 0);
  useEffect(() => live.subscribe(() => again(null)), []);
  return live;
}

export interface Loaded<T> {
  value: T | null;
  error: string;
  reload: () => void;
}

/** Asks when `key` changes, and again every so often; what was there stays until the answer comes. */
export function useLoad<T>(key: string, load: () => Promise<T>, everyMs = 0): Loaded<T> {
  const [state, set] = useState<{ key: string; value: T | null; error: string }>({ key: "", value: null, error: "" });
  const [turn, again] = useReducer((n: number, _: null) => n + 1, 0);
  useEffect(() => {
    let gone = false;
    let timer = 0;
    const run = async () => {
      try {
        const value = await load();
        if (!gone) set({ key, value, error: "" });
      } catch (error) {
        if (!gone) set((old) => ({ key, value: old.key === key ? old.value : null, error: told(error) }));
      }
      if (!gone && everyMs > 0) timer = window.setTimeout(run, everyMs);
    };
    void run();
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [key, everyMs, turn]);
  const current = state.key === key;
  return { value: current ? state.value : null, error: current ? state.error : "", reload: () => again(null) };
}
