import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import { ask, now as clock } from "../api";
import { ms, percent, span, when } from "../format";
import { carries, ofPath } from "../health";
import { useLive, useLoad } from "../live";
import { Chart, type Band, type ChartInput, type Line } from "../parts/chart";
import { Evidence } from "../parts/why";
import { Fact, Note, State, Table } from "../parts/state";
import { link } from "../router";
import type { ClassLimit, Decision, EndHistory, Measured, Path, PathHistory } from "../types";
import { sentence } from "../words";

const WINDOWS: [string, number][] = [
  ["5 min", 300],
  ["15 min", 900],
  ["1 h", 3_600],
  ["6 h", 21_600],
  ["24 h", 86_400],
];
/** Where the controller was given a Prometheus. */
const LONG_WINDOWS: [string, number][] = [
  ["7 d", 604_800],
  ["30 d", 2_592_000],
];
/** What is that old changes little, and is asked of Prometheus. */
const LONG_EVERY_MS = 30_000;
const SHORTEST_S = 10;

function history(id: number, since: number): Promise<PathHistory> {
  // One page holds all that is ever kept of one path.
  return ask<PathHistory>(`paths/${id}/history?since_unix_ms=${Math.floor(since)}&limit=5000`);
}

async function movesOf(path: Path, since: number): Promise<Decision[]> {
  const of = (site: string) =>
    ask<{ decisions: Decision[] }>(`decisions?site=${encodeURIComponent(site)}&since_unix_ms=${Math.floor(since)}&limit=500`);
  const both = await Promise.all([...new Set([path.a.site, path.b.site])].map(of));
  return both
    .flatMap((found) => found.decisions)
    .filter((d) => d.from_path_id === path.id || d.to_path_id === path.id)
    .sort((a, b) => b.unix_ms - a.unix_ms);
}

export function PathPage({ id, query }: { id: number; query: URLSearchParams }) {
  const live = useLive();
  const asked = Number(query.get("window")) || 900;
  const [windowS, setWindow] = useState(asked);
  useEffect(() => setWindow(asked), [asked]);
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  const path = live.fleet?.paths.find((p) => p.id === id);
  const reach = zoom ? Math.max(windowS, clock() / 1_000 - zoom[0]) : windowS;
  const key = `${id} ${windowS} ${zoom ? zoom[0] : ""}`;
  const every = reach > 86_400 ? LONG_EVERY_MS : 2_000;
  const told = useLoad(`history ${key}`, () => history(id, clock() - reach * 1_000), every);
  const moves = useLoad(`moves ${key} ${path ? 1 : 0}`, () => (path ? movesOf(path, clock() - reach * 1_000) : Promise.resolve([])), 2_000);
  if (live.fleet && !path) return <Note error={`The fleet has no path ${id}.`} />;
  if (!path || !told.value) return <Note error={told.error || live.error}>Asking the controller…</Note>;
  const now = clock() / 1_000;
  const range: [number, number] = zoom ?? [now - windowS, now];
  const scale = (factor: number, shift: number) => {
    const [from, to] = range;
    const [middle, half] = [(from + to) / 2 + (to - from) * shift, Math.max(SHORTEST_S, (to - from) * factor) / 2];
    setZoom([middle - half, Math.min(middle + half, now)]);
  };
  const health = ofPath(path);
  return (
    <>
      <h1>
        {path.a.site} {path.a.uplink} <span class="faint">—</span> {path.b.site} {path.b.uplink}
        <span class="after"><State {...health} />{carries(path) && <span class="chip">in use</span>}</span>
      </h1>
      <dl class="strip">
        <Fact name="Path">{path.id}{path.ipv6 && " IPv6"}</Fact>
        <Fact name="Ends"><a href={link("sites", path.a.site)}>{path.a.edge}</a>, <a href={link("sites", path.b.site)}>{path.b.edge}</a></Fact>
        <Fact name="Round trip">{ms(path.a.rtt_us ?? path.b.rtt_us)}</Fact>
        <Fact name="Jitter">{ms(path.a.jitter_us ?? path.b.jitter_us)}</Fact>
        <Fact name="Loss out, in">{percent(path.a.loss_tx_ppm)}, {percent(path.a.loss_rx_ppm)}</Fact>
        <Fact name="MOS">{path.a.mos_milli ? (path.a.mos_milli / 1_000).toFixed(2) : "–"}</Fact>
      </dl>
      <section class="panel">
        <div class="tools">
          <div role="group" aria-label="Time shown" class="choice">
            {[...WINDOWS, ...(told.value.long_store === "none" ? [] : LONG_WINDOWS)].map(([name, s]) => (
              <button key={s} aria-pressed={!zoom && windowS === s} onClick={() => (setZoom(null), setWindow(s))}>{name}</button>
            ))}
          </div>
          <div role="group" aria-label="Zoom" class="choice">
            <button onClick={() => scale(0.5, 0)} aria-label="Zoom in" title="Zoom in">+</button>
            <button onClick={() => scale(2, 0)} aria-label="Zoom out" title="Zoom out">−</button>
            <button onClick={() => scale(1, -0.5)} aria-label="Earlier" title="Earlier">←</button>
            <button onClick={() => scale(1, 0.5)} aria-label="Later" title="Later">→</button>
            <button onClick={() => setZoom(null)} disabled={!zoom}>Live</button>
          </div>
          <span class="faint">
            {zoom ? `${when(range[0] * 1_000)} to ${when(range[1] * 1_000)}` : `the last ${span(windowS * 1_000)}, live`}
          </span>
        </div>
        {told.value.long_store === "failed" && <Note error="Prometheus did not answer: what is older than the controller's own figures is missing." />}
        <Charts told={told.value} moves={moves.value ?? []} range={range} zoom={(from, to) => setZoom([from, Math.max(to, from + SHORTEST_S)])} />
        <p class="legend faint">
          <span><i class="swatch used" /> bar on top: it carried traffic</span>
          <span><i class="swatch limit" /> limit</span>
          <span><i class="flag" /> traffic moved away or to it</span>
          <span><i class="swatch dark" /> down</span>
          <span>Drag to zoom.</span>
        </p>
      </section>
      <section class="panel">
        <h2>Moves to and from this path</h2>
        {moves.error && <Note error={moves.error} />}
        {moves.value?.length === 0 && <Note>None in this time.</Note>}
        <ul class="moves">
          {moves.value?.slice(0, 50).map((d) => (
            <li key={`${d.unix_ms}${d.edge}${d.traffic_class}`}>
              <details>
                <summary>
                  <span class="n">{when(d.unix_ms)}</span> <strong>{d.edge} → {d.peer_edge}</strong> {d.traffic_class}: {sentence(d)}
                </summary>
                <Evidence decision={d} />
              </details>
            </li>
          ))}
        </ul>
      </section>
      <Summary told={told.value} range={range} />
    </>
  );
}

const SECOND = 1_000;

function line(end: EndHistory, label: string, of: (p: Measured) => number | null, dashed = false): Line {
  const xs: number[] = [];
  const ys: (number | null)[] = [];
  for (const point of end.points) {
    const value = point.state === "up" ? of(point) : null;
    xs.push((point.unix_ms + point.span_ms / 2) / SECOND);
    ys.push(value);
  }
  return { label, data: [xs, ys], dashed };
}

const milli = (us: number | null) => (us === null ? null : us / 1_000);
const hundredth = (ppm: number | null) => (ppm === null ? null : ppm / 10_000);

/** Times of one kind, those that touch each other joined. */
function joined(points: Measured[], is: (p: Measured) => boolean): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = [];
  for (const point of points.filter(is)) {
    const [from, to] = [point.unix_ms / SECOND, (point.unix_ms + point.span_ms) / SECOND];
    const last = found.at(-1);
    if (last && from - last.to < 3) last.to = Math.max(last.to, to);
    else found.push({ from, to });
  }
  return found;
}

/** The strictest, as far as there is one. */
function strictest(limits: ClassLimit[], of: (limit: ClassLimit) => number | null, per: number) {
  const given = limits.flatMap((l) => (of(l) === null ? [] : [{ value: (of(l) ?? 0) / per, name: l.traffic_class }]));
  return given.sort((a, b) => a.value - b.value)[0] ?? null;
}

function Charts({ told, moves, range, zoom }: { told: PathHistory; moves: Decision[]; range: [number, number]; zoom: (from: number, to: number) => void }) {
  const inputs = useMemo<{ name: string; input: ChartInput }[]>(() => {
    const [a, b] = told.ends;
    if (!a || !b) return [];
    const all = [...a.points, ...b.points].sort((x, y) => x.unix_ms - y.unix_ms);
    const bands: Band[] = (["down", "connecting"] as const).flatMap((state) =>
      joined(all, (p) => p.state === state).map((band) => ({ ...band, state })),
    );
    const common = {
      bands,
      used: joined(all, (p) => p.carries),
      moves: moves.map((d) => ({ at: d.unix_ms / SECOND, away: d.from_path_id === told.path_id })),
      range,
    };
    // Each direction by whoever tells of it; the first end tells of both.
    const [teller, out, back] = a.points.length > 0
      ? [a, `${a.site} → ${b.site}`, `${b.site} → ${a.site}`]
      : [b, `${b.site} → ${a.site}`, `${a.site} → ${b.site}`];
    const both = (of: (p: Measured) => number | null) => [line(a, `seen by ${a.edge}`, of), line(b, `seen by ${b.edge}`, of, true)];
    return [
      { name: "Delay, round trip", input: { ...common, unit: "ms", lines: both((p) => milli(p.rtt_us)), limit: strictest(told.limits, (l) => l.max_rtt_us, 1_000) } },
      { name: "Jitter", input: { ...common, unit: "ms", lines: both((p) => milli(p.jitter_us)), limit: strictest(told.limits, (l) => l.max_jitter_us, 1_000) } },
      {
        name: "Loss",
        input: {
          ...common,
          unit: "%",
          lines: [line(teller, out, (p) => hundredth(p.loss_tx_ppm)), line(teller, back, (p) => hundredth(p.loss_rx_ppm), true)],
          limit: strictest(told.limits, (l) => l.max_loss_ppm, 10_000),
        },
      },
    ];
  }, [told, moves, range[0], range[1]]);
  return (
    <div class="charts">
      {inputs.map(({ name, input }) => (
        <figure key={name}>
          <figcaption>
            {name}
            {input.limit && <span class="faint"> · limit {input.limit.value} {input.unit} ({input.limit.name})</span>}
          </figcaption>
          <Plot name={name} input={input} zoom={zoom} />
        </figure>
      ))}
    </div>
  );
}

function Plot({ name, input, zoom }: { name: string; input: ChartInput; zoom: (from: number, to: number) => void }) {
  const root = useRef<HTMLDivElement>(null);
  const chart = useRef<Chart | null>(null);
  const zoomed = useRef(zoom);
  zoomed.current = zoom;
  const [theme, again] = useState(0);
  useEffect(() => {
    const repaint = () => again((n) => n + 1);
    addEventListener("hawser-theme", repaint);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", repaint);
    return () => {
      removeEventListener("hawser-theme", repaint);
      scheme.removeEventListener("change", repaint);
    };
  }, []);
  useEffect(() => {
    if (!root.current) return;
    chart.current = new Chart(root.current, input, "path", (from, to) => zoomed.current(from, to));
    return () => chart.current?.destroy();
  }, [theme]);
  useEffect(() => chart.current?.update(input), [input]);
  const moves = input.moves.length;
  return <div ref={root} class="plot" role="img" aria-label={`${name}: figures in the table below${moves > 0 ? `, ${moves} moves marked` : ""}`} data-moves={moves} />;
}

/** The same figures for those who can't see a chart. */
function Summary({ told, range }: { told: PathHistory; range: [number, number] }) {
  const rows = told.ends.map((end) => {
    const seen = end.points.filter((p) => p.unix_ms / SECOND >= range[0] && p.unix_ms / SECOND <= range[1]);
    const of = (pick: (p: Measured) => number | null) =>
      seen.map(pick).filter((v): v is number => v !== null).sort((x, y) => x - y);
    const down = seen.filter((p) => p.state === "down").reduce((sum, p) => sum + p.span_ms, 0);
    return { end, rtt: of((p) => p.rtt_us), jitter: of((p) => p.jitter_us), loss: of((p) => p.loss_tx_ppm), down };
  });
  const middle = (values: number[]) => values[Math.floor(values.length / 2)];
  return (
    <section class="panel">
      <h2>In figures</h2>
      <Table label="Figures of the time shown" head={["Seen by", "#Delay, median", "#highest", "#Jitter, median", "#highest", "#Loss out, median", "#highest", "#Down for"]}>
        {rows.map(({ end, rtt, jitter, loss, down }) => (
          <tr key={end.edge}>
            <th scope="row">{end.edge} <span class="faint">{end.uplink}</span></th>
            <td class="n">{ms(middle(rtt))}</td>
            <td class="n">{ms(rtt.at(-1))}</td>
            <td class="n">{ms(middle(jitter))}</td>
            <td class="n">{ms(jitter.at(-1))}</td>
            <td class="n">{percent(middle(loss))}</td>
            <td class="n">{percent(loss.at(-1))}</td>
            <td class="n">{down > 0 ? span(down) : "–"}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}
