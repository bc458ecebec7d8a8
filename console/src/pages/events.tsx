import { useState } from "preact/hooks";
import { full, time } from "../format";
import { useLive } from "../live";
import { Note, State, Table } from "../parts/state";
import { link } from "../router";

const BAD = /DOWN|LOST|FAILED|REFUSED|NACK|VIOLATED|REVOKED|EXPIRED|ROLE_TOO_LOW|INVALID|OLD_SUITE|AWAY/;

export function EventsPage() {
  const live = useLive();
  const [wanted, setWanted] = useState("");
  const [held, hold] = useState<number | null>(null);
  const text = wanted.toLowerCase();
  const shown = live.events
    .filter((e) => held === null || e.sequence <= held)
    .filter((e) => text === "" || `${e.code} ${e.site} ${e.edge} ${e.message}`.toLowerCase().includes(text))
    .reverse();
  const newest = live.events.at(-1)?.sequence ?? 0;
  return (
    <>
      <h1>Events <span class="after">{live.streaming ? <State mark="good" word="as they come" /> : <State mark="off" word="reconnecting" />}</span></h1>
      <div class="tools">
        <label>Find <input type="search" value={wanted} onInput={(e) => setWanted(e.currentTarget.value)} placeholder="code, site, text" /></label>
        <button onClick={() => hold(held === null ? newest : null)} aria-pressed={held !== null}>
          {held === null ? "Hold" : `Go on (${newest - held} new)`}
        </button>
        <span class="faint">{shown.length} of the newest {live.events.length}</span>
      </div>
      {shown.length === 0 && <Note>Nothing has happened{wanted && " that fits"}.</Note>}
      {shown.length > 0 && (
        <Table label="Events" head={["When", "Code", "Site", "Edge", "What"]}>
          {shown.slice(0, 300).map((e) => (
            <tr key={e.sequence}>
              <td class="n" title={full(e.unix_ms)}>{time(e.unix_ms)}</td>
              <td class={`code${BAD.test(e.code) ? " bad" : ""}`}>{e.code}</td>
              <td>{e.site && <a href={link("sites", e.site)}>{e.site}</a>}</td>
              <td>{e.edge}</td>
              <td class="wide">{e.dropped_before > 0 && <em>{e.dropped_before} are missing before this. </em>}{e.message}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
