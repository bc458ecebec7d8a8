// One uPlot of a path's history: limits, moves, darkness and use are drawn into it.

import uPlot from "uplot";
import type { PathState } from "../types";

export interface Line {
  label: string;
  /** Unix seconds and values; null: nothing was heard. */
  data: [number[], (number | null)[]];
  dashed?: boolean;
}

export interface Band {
  from: number;
  to: number;
  state: PathState;
}

export interface ChartInput {
  lines: Line[];
  unit: string;
  limit: { value: number; name: string } | null;
  bands: Band[];
  used: { from: number; to: number }[];
  /** Unix seconds; `away`: traffic left this path. */
  moves: { at: number; away: boolean }[];
  range: [number, number];
}

const HEIGHT = 158;
const DAY_S = 86_400;

/** A moment, as precisely as such a stretch of time can be read. */
function moment(at: number, stretchS: number, stepS: number): string {
  const clock = stepS < 60 ? "{HH}:{mm}:{ss}" : "{HH}:{mm}";
  const date = stepS >= DAY_S ? "{D} {MMM}" : `{D} {MMM} ${clock}`;
  return uPlot.fmtDate(stretchS > DAY_S ? date : clock)(new Date(at * 1_000));
}

interface Colours {
  ink: string;
  faint: string;
  grid: string;
  accent: string;
  second: string;
  bad: string;
  warn: string;
  off: string;
}

function colours(): Colours {
  // A colour that depends on the scheme is only settled on an element.
  const probe = document.createElement("i");
  document.body.append(probe);
  const of = (name: string) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const all = {
    ink: of("ink"),
    faint: of("faint"),
    grid: of("line"),
    accent: of("accent"),
    second: of("second"),
    bad: of("bad"),
    warn: of("warn"),
    off: of("off"),
  };
  probe.remove();
  return all;
}

export class Chart {
  #plot: uPlot;
  #input: ChartInput;
  #colours = colours();
  #size: ResizeObserver;

  constructor(root: HTMLElement, input: ChartInput, sync: string, zoom: (from: number, to: number) => void) {
    this.#input = input;
    this.#plot = new uPlot(this.#options(root.clientWidth, sync, zoom), this.#data(), root);
    this.#size = new ResizeObserver(() => this.#plot.setSize({ width: root.clientWidth, height: HEIGHT }));
    this.#size.observe(root);
  }

  update(input: ChartInput) {
    this.#input = input;
    this.#plot.batch(() => {
      this.#plot.setData(this.#data(), false);
      this.#plot.setScale("x", { min: input.range[0], max: input.range[1] });
    });
  }

  destroy() {
    this.#size.disconnect();
    this.#plot.destroy();
  }

  #data(): uPlot.AlignedData {
    const tables = this.#input.lines.map((line) => line.data as unknown as uPlot.AlignedData);
    return tables.length === 1 ? (tables[0] as uPlot.AlignedData) : uPlot.join(tables);
  }

  #options(width: number, sync: string, zoom: (from: number, to: number) => void): uPlot.Options {
    const c = this.#colours;
    const font = "11px system-ui, sans-serif";
    const unit = this.#input.unit;
    const value = (_: uPlot, v: number | null) => (v === null || v === undefined ? "–" : `${v.toFixed(unit === "%" ? 2 : 1)} ${unit}`);
    const axis = { stroke: c.faint, font, grid: { stroke: c.grid, width: 1 }, ticks: { show: false } };
    return {
      width,
      height: HEIGHT,
      cursor: { sync: { key: sync }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: {
        x: { time: true, min: this.#input.range[0], max: this.#input.range[1] },
        y: { range: (_, __, max) => [0, this.#top(max)] },
      },
      axes: [
        { ...axis, size: 26, values: (_, ticks, __, ___, stepS) => ticks.map((at) => moment(at, this.#stretch(), stepS)), space: 90 },
        { ...axis, size: 58, space: 34, values: (_, ticks) => ticks.map((v) => `${+v.toFixed(2)} ${unit}`) },
      ],
      series: [
        { value: (_, at) => (at === null ? "–" : moment(at, this.#stretch(), this.#stretch() > DAY_S ? 60 : 1)) },
        ...this.#input.lines.map((line, n) => ({
          label: line.label,
          stroke: n === 0 ? c.accent : c.second,
          width: n === 0 ? 1.75 : 1.25,
          ...(line.dashed && { dash: [4, 3] }),
          points: { show: false },
          value,
        })),
      ],
      hooks: {
        drawClear: [(u) => this.#behind(u)],
        draw: [(u) => this.#before(u)],
        setSelect: [
          (u) => {
            if (u.select.width < 4) return;
            const from = u.posToVal(u.select.left, "x");
            const to = u.posToVal(u.select.left + u.select.width, "x");
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            zoom(from, to);
          },
        ],
      },
    };
  }

  #stretch(): number {
    return this.#input.range[1] - this.#input.range[0];
  }

  /** High enough for the limit, unless that would flatten the line. */
  #top(max: number | null): number {
    const top = Math.max((max ?? 0) * 1.15, this.#input.unit === "%" ? 1 : 1);
    const limit = this.#input.limit?.value ?? 0;
    return limit > top && limit < top * 4 ? limit * 1.12 : top;
  }

  #behind(u: uPlot) {
    const { ctx, bbox } = u;
    const x = (at: number) => Math.min(Math.max(u.valToPos(at, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    for (const band of this.#input.bands) {
      const [from, to] = [x(band.from), x(band.to)];
      if (to <= bbox.left || from >= bbox.left + bbox.width) continue;
      ctx.fillStyle = band.state === "down" ? this.#colours.bad : this.#colours.off;
      ctx.globalAlpha = band.state === "down" ? 0.14 : 0.12;
      ctx.fillRect(from, bbox.top, Math.max(to - from, 2), bbox.height);
    }
    ctx.globalAlpha = 0.85;
    ctx.fillStyle = this.#colours.accent;
    const bar = 3 * devicePixelRatio;
    for (const used of this.#input.used) {
      const [from, to] = [x(used.from), x(used.to)];
      if (to > from) ctx.fillRect(from, bbox.top - bar, to - from, bar);
    }
    ctx.restore();
  }

  #before(u: uPlot) {
    const { ctx, bbox } = u;
    const px = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
    ctx.clip();
    const limit = this.#input.limit;
    if (limit) {
      const y = u.valToPos(limit.value, "y", true);
      if (y >= bbox.top && y <= bbox.top + bbox.height) {
        ctx.strokeStyle = this.#colours.warn;
        ctx.setLineDash([6 * px, 4 * px]);
        ctx.lineWidth = px;
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
        ctx.fillStyle = this.#colours.warn;
        ctx.font = `${10.5 * px}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        ctx.fillText(`limit ${limit.value} ${this.#input.unit}`, bbox.left + bbox.width - 4 * px, y - 4 * px);
      }
    }
    ctx.setLineDash([]);
    ctx.lineWidth = 1.25 * px;
    for (const move of this.#input.moves) {
      const x = u.valToPos(move.at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = this.#colours.ink;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      // A flag that points where traffic went: away from this path, or to it.
      const d = 6 * px * (move.away ? 1 : -1);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x + d, bbox.top + 4 * px);
      ctx.lineTo(x, bbox.top + 8 * px);
      ctx.fill();
    }
    ctx.restore();
  }
}
