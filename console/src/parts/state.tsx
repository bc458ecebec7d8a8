import type { ComponentChildren } from "preact";
import type { Health, Mark } from "../health";

/** A state has a shape and a word; colour only repeats them. */
export function Shape({ mark, x = 0, y = 0, r = 5 }: { mark: Mark; x?: number; y?: number; r?: number }) {
  switch (mark) {
    case "good":
      return <circle class="mark good" cx={x} cy={y} r={r * 0.85} />;
    case "warn":
      return <path class="mark warn" d={`M${x} ${y - r}L${x + r} ${y + r * 0.8}H${x - r}Z`} />;
    case "bad": {
      const d = r * 0.85;
      return <path class="mark bad" d={`M${x - d} ${y - d}L${x + d} ${y + d}M${x + d} ${y - d}L${x - d} ${y + d}`} />;
    }
    case "off":
      return <circle class="mark off" cx={x} cy={y} r={r * 0.75} />;
  }
}

export function State({ mark, word }: Health) {
  return (
    <span class={`state ${mark}`}>
      <svg viewBox="-6 -6 12 12" width="11" height="11" aria-hidden="true">
        <Shape mark={mark} />
      </svg>
      {word}
    </span>
  );
}

export function Note({ error, children }: { error?: string; children?: ComponentChildren }) {
  if (error) return <p class="note bad" role="alert">{error}</p>;
  return <p class="note">{children}</p>;
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** A table that scrolls by itself, so that the page never does sideways. */
export function Table({ label, head, children, empty }: { label: string; head: string[]; children: ComponentChildren; empty?: string | false }) {
  if (empty) return <Note>{empty}</Note>;
  return (
    <div class="scroll" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((name, n) => {
              const [text, figures] = name.startsWith("#") ? [name.slice(1), "n"] : [name, ""];
              return <th key={n} scope="col" class={figures}>{text || <span class="sr">What can be done</span>}</th>;
            })}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
