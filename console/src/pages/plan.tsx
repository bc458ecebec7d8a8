import { useState } from "preact/hooks";
import { Problem, ask, askText, told } from "../api";
import { plural } from "../format";
import { live, useLoad } from "../live";
import { Confirm } from "../parts/dialog";
import { PlanView } from "../parts/plan";
import { may } from "../parts/shell";
import { Note, Table } from "../parts/state";
import { link } from "../router";
import type { Applied, Fault, Plan, Session } from "../types";

/** What a change does before it is made. */
export function PlanPage({ session }: { session: Session }) {
  const fleet = useLoad("document", () => askText("fleet"));
  const [text, setText] = useState<string | null>(null);
  const [plan, setPlan] = useState<{ of: string; plan: Plan } | null>(null);
  const [faults, setFaults] = useState<Fault[]>([]);
  const [error, setError] = useState("");
  const [asking, setAsking] = useState(false);
  const [done, setDone] = useState<Applied | null>(null);
  const shown = text ?? fleet.value?.text ?? "";
  const look = async () => {
    setFaults([]);
    setError("");
    setDone(null);
    setPlan(null);
    try {
      setPlan({ of: shown, plan: await ask<Plan>("fleet/plan", { method: "POST", text: shown }) });
    } catch (problem) {
      if (problem instanceof Problem && problem.body.faults?.length) setFaults(problem.body.faults);
      setError(told(problem));
    }
  };
  const apply = async () => {
    const tag = fleet.value?.etag;
    const applied = await ask<Applied>(`fleet?comment=${encodeURIComponent("from the console")}`, {
      method: "PUT",
      text: shown,
      headers: { ...(tag ? { "if-match": tag } : { "if-none-match": "*" }), "idempotency-key": crypto.randomUUID() },
    });
    setDone(applied);
    setPlan(null);
    setText(null);
    fleet.reload();
    void live.refresh();
  };
  const fresh = plan?.of === shown ? plan.plan : null;
  return (
    <>
      <h1>Plan</h1>
      <div role="status">
        {done && <Note>{done.unchanged ? "Nothing changed." : <>Revision <a href={link("revisions", done.revision)}>{done.revision}</a> is applied; {plural(done.changed.length, "edge")} changed.</>}</Note>}
      </div>
      <div class="split even">
        <section class="panel">
          <h2><label for="document">Document</label></h2>
          {fleet.error && !fleet.error.includes("FLEET_EMPTY") && <Note error={fleet.error} />}
          <textarea id="document" spellcheck={false} rows={28} value={shown} onInput={(e) => setText(e.currentTarget.value)} />
          <div class="buttons">
            <button onClick={() => setText(null)} disabled={text === null}>As it is now</button>
            <button class={fresh ? "" : "primary"} onClick={() => void look()}>What would it do?</button>
            {may(session, "operator") && <button class={fresh ? "primary" : ""} onClick={() => setAsking(true)} disabled={!fresh || fresh.unchanged}>Apply…</button>}
          </div>
        </section>
        <section class="panel" aria-live="polite">
          <h2>What it would do</h2>
          {error && <Note error={error} />}
          {faults.length > 0 && (
            <Table label="Faults" head={["Where", "What", "Mend"]}>
              {faults.map((f, n) => <tr key={n}><td class="code">{f.path}</td><td class="wide">{f.message}</td><td class="wide">{f.mend}</td></tr>)}
            </Table>
          )}
          {fresh ? <PlanView plan={fresh} /> : !error && <Note>Change the document, then ask. Nothing is changed by asking.</Note>}
          {fresh && !may(session, "operator") && <Note>A viewer can look; applying needs the role operator.</Note>}
        </section>
      </div>
      {asking && fresh && (
        <Confirm title="Apply this document?" act="Apply" doIt={apply} close={() => setAsking(false)}>
          <PlanView plan={fresh} />
        </Confirm>
      )}
    </>
  );
}
