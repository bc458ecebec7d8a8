import { useState } from "preact/hooks";
import { ask } from "../api";
import { full } from "../format";
import { useLoad } from "../live";
import { may } from "../parts/shell";
import { Note, Table } from "../parts/state";
import type { AuditEntry, Session } from "../types";

const PAGE = 100;

interface Log {
  entries: AuditEntry[];
  head_sequence: number;
  head_hash: string;
}

export function AuditPage({ session }: { session: Session }) {
  const [after, setAfter] = useState<number | null>(null);
  const query = after === null ? "" : `&after=${after}`;
  const log = useLoad(`audit ${after}`, () => ask<Log>(`audit?page_size=${PAGE}${query}`), after === null ? 5_000 : 0);
  if (!may(session, "operator")) return <Note error="The audit log needs the role operator." />;
  const entries = [...(log.value?.entries ?? [])].reverse();
  const oldest = entries.at(-1)?.sequence ?? 1;
  return (
    <>
      <h1>Audit</h1>
      {log.value && (
        <p class="faint">
          Entry {log.value.head_sequence} is the newest; its hash is <code class="hash">{log.value.head_hash}</code>. Kept elsewhere, both prove
          later that everything up to there still stands: <code>hawser audit verify --known</code>.
        </p>
      )}
      <div class="tools">
        <button onClick={() => setAfter(null)} aria-pressed={after === null}>Newest</button>
        <button onClick={() => setAfter(Math.max(0, oldest - 1 - PAGE))} disabled={oldest <= 1}>Older</button>
      </div>
      {log.error && <Note error={log.error} />}
      <Table label="Audit log" head={["#Entry", "When", "Who", "Action", "About", "Detail"]}>
        {entries.map((e) => (
          <tr key={e.sequence}>
            <th scope="row" class="n" title={e.hash}>{e.sequence}</th>
            <td class="t">{full(e.unix_ms)}</td>
            <td class="code">{e.actor}</td>
            <td class="code">{e.action}</td>
            <td class="code">{e.subject}</td>
            <td class="wide">{e.detail}{e.suppressed > 0 && <em> {e.suppressed} refusals before it were not written.</em>}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}
