import { ms, percent } from "../format";
import type { Candidate, Decision } from "../types";
import { label, verdict } from "../words";
import { Table } from "./state";

const MARKS = { up: "good", down: "bad", connecting: "off" } as const;

export function Evidence({ decision }: { decision: Decision }) {
  return (
    <div class="evidence">
      {decision.summary && <p>{decision.summary}</p>}
      {decision.advice_id && <p>It followed the advice {decision.advice_id}.</p>}
      <Candidates of={decision.candidates} />
    </div>
  );
}

export function Candidates({ of }: { of: Candidate[] }) {
  if (of.length === 0) return null;
  return (
    <Table label="Candidates" head={["Candidate", "State", "#RTT", "#Jitter", "#Loss out", "#Loss in", "Verdict"]}>
      {of.map((c) => {
        const figure = (value: number) => (c.state === "connecting" ? null : value);
        return (
          <tr key={`${c.path_id}${c.next_hop}`} class={c.chosen ? "chosen" : ""}>
            <th scope="row">{c.chosen && <span aria-hidden="true">→ </span>}{label(c)}</th>
            <td class={MARKS[c.state]}>{c.state}</td>
            <td class="n">{ms(figure(c.rtt_us))}</td>
            <td class="n">{ms(figure(c.jitter_us))}</td>
            <td class="n">{percent(figure(c.loss_tx_ppm))}</td>
            <td class="n">{percent(figure(c.loss_rx_ppm))}</td>
            <td class="wide">{verdict(c)}</td>
          </tr>
        );
      })}
    </Table>
  );
}
