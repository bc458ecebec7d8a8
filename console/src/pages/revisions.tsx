import { useState } from "preact/hooks";
import { ask, askText } from "../api";
import { full, plural } from "../format";
import { live, useLoad } from "../live";
import { lineDiff } from "../diff";
import { Confirm } from "../parts/dialog";
import { PlanView } from "../parts/plan";
import { may } from "../parts/shell";
import { Note, Table } from "../parts/state";
import { link } from "../router";
import type { Applied, Plan, Revision, Session } from "../types";

interface List {
  revisions: Revision[];
  next_page_token: string;
}

export function RevisionsPage({ id, session }: { id: string; session: Session }) {
  const list = useLoad("revisions", () => ask<List>("revisions?page_size=200"), 5_000);
  const [back, setBack] = useState<Revision | null>(null);
  const [done, setDone] = useState("");
  const current = list.value?.revisions.find((r) => r.current);
  const chosen = list.value?.revisions.find((r) => String(r.revision) === id);
  const allowed = may(session, "operator");
  return (
    <>
      <h1>Revisions</h1>
      <div role="status">{done && <Note>{done}</Note>}</div>
      {list.error && <Note error={list.error} />}
      {list.value?.revisions.length === 0 && <Note>There is no revision yet: apply a document.</Note>}
      <div class={chosen ? "split even" : ""}>
        <section class="panel">
          <h2>Newest first</h2>
          <Table label="Revisions" head={["#Revision", "Committed", "By", "Comment", ""]}>
            {list.value?.revisions.map((r) => (
              <tr key={r.revision} class={r.current ? "chosen" : ""} aria-current={r === chosen ? "true" : undefined}>
                <th scope="row" class="n"><a href={link("revisions", r.revision)}>{r.revision}</a></th>
                <td class="t">{full(r.committed_unix_ms)}</td>
                <td class="code">{r.committed_by}</td>
                <td class="wide">{r.comment}{r.current && <span class="chip">current</span>}</td>
                <td class="act">
                  {!r.current && allowed && <button onClick={() => setBack(r)}>Roll back<span class="sr"> to revision {r.revision}</span></button>}
                </td>
              </tr>
            ))}
          </Table>
          {!allowed && <Note>A viewer can look; rolling back needs the role operator.</Note>}
        </section>
        {chosen && current && <Difference key={chosen.revision} of={chosen} current={current} />}
      </div>
      {back && current && (
        <Rollback to={back} current={current} close={() => setBack(null)}
          done={(applied) => {
            setDone(applied.unchanged ? "Nothing changed: the fleet says the same already." : `Revision ${applied.revision} says what revision ${back.revision} said; ${plural(applied.changed.length, "edge")} changed.`);
            list.reload();
            void live.refresh();
          }} />
      )}
    </>
  );
}

interface RollbackProps {
  to: Revision;
  current: Revision;
  close: () => void;
  done: (applied: Applied) => void;
}

function Rollback({ to, current, close, done }: RollbackProps) {
  const plan = useLoad(`diff ${current.revision} ${to.revision}`, () => ask<Plan>(`revisions/${current.revision}/diff/${to.revision}`));
  const doIt = async () => {
    const applied = await ask<Applied>(`revisions/${to.revision}/rollback`, {
      method: "POST",
      json: { comment: `back to revision ${to.revision}, from the console` },
      // What was looked at is what is left: a change meanwhile is refused.
      headers: { "if-match": `"${current.revision}"`, "idempotency-key": crypto.randomUUID() },
    });
    done(applied);
  };
  return (
    <Confirm title={`Roll back to revision ${to.revision}?`} act={`Roll back to ${to.revision}`} danger doIt={doIt} close={close}>
      <p>The fleet is at revision {current.revision}. A new revision will say what revision {to.revision} said{to.comment && <> ({to.comment})</>}.</p>
      {plan.error && <Note error={plan.error} />}
      {plan.value && <PlanView plan={plan.value} />}
    </Confirm>
  );
}

function Difference({ of, current }: { of: Revision; current: Revision }) {
  // The current one is held against the one before it, every other against the current.
  const [from, to] = of.current ? [of.revision - 1, of.revision] : [current.revision, of.revision];
  const texts = useLoad(`texts ${from} ${to}`, async () => {
    const text = (revision: number) => (revision > 0 ? askText(`revisions/${revision}/document`).then((t) => t.text) : Promise.resolve(""));
    const [before, after] = await Promise.all([text(from), text(to)]);
    return lineDiff(before, after);
  });
  const plan = useLoad(`diff ${from} ${to}`, () => (from > 0 ? ask<Plan>(`revisions/${from}/diff/${to}`) : Promise.resolve(null)));
  return (
    <section class="panel">
      <h2>{from > 0 ? `From revision ${from} to ${to}` : `Revision ${to}`}</h2>
      {(texts.error || plan.error) && <Note error={texts.error || plan.error} />}
      {plan.value && <PlanView plan={plan.value} />}
      {texts.value?.length === 0 && <Note>The documents are the same.</Note>}
      {texts.value && texts.value.length > 0 && (
        <pre class="diff" tabIndex={0} aria-label="What differs in the document">
          {texts.value.map((line, n) => (
            <span key={n} class={line.kind}>{line.kind === "gap" ? "⋯" : `${line.kind === "add" ? "+" : line.kind === "cut" ? "−" : " "} ${line.text}`}{"\n"}</span>
          ))}
        </pre>
      )}
    </section>
  );
}
