import { useState } from "preact/hooks";
import { ask, now, told } from "../api";
import { ago, full } from "../format";
import { useLive, useLoad } from "../live";
import { Confirm } from "../parts/dialog";
import { may } from "../parts/shell";
import { Note, State, Table } from "../parts/state";
import type { Session, Token } from "../types";

export function TokensPage({ session }: { session: Session }) {
  const list = useLoad("tokens", () => ask<{ tokens: Token[] }>("tokens"), 10_000);
  const [ending, setEnding] = useState<Token | null>(null);
  if (!may(session, "operator")) return <Note error="Tokens need the role operator." />;
  const tokens = [...(list.value?.tokens ?? [])].sort((a, b) => b.created_unix_ms - a.created_unix_ms);
  const mayEnd = (t: Token) => !t.revoked && (t.kind === "enrolment" || may(session, "admin"));
  return (
    <>
      <h1>Tokens</h1>
      <Make session={session} made={list.reload} />
      {list.error && <Note error={list.error} />}
      <section class="panel">
        <h2>All tokens</h2>
        <Table label="Tokens" head={["Token", "For", "State", "Created", "Ends", "Used last", "From", "Comment", ""]}>
          {tokens.map((t) => (
            <tr key={t.id}>
              <th scope="row" class="code">{t.id}{t.id === session.token_id && <span class="chip">yours</span>}</th>
              <td>{t.kind === "api" ? t.role : <>enrolment of {t.edge}</>}</td>
              <td><TokenState t={t} /></td>
              <td class="t">{full(t.created_unix_ms)}</td>
              <td class="t">{t.expires_unix_ms === 0 ? "never" : full(t.expires_unix_ms)}</td>
              <td class="t">{t.last_used_unix_ms === 0 ? "–" : ago(t.last_used_unix_ms)}</td>
              <td class="code">{t.last_used_from || "–"}</td>
              <td class="wide">{t.comment}</td>
              <td class="act">{mayEnd(t) && <button onClick={() => setEnding(t)}>Revoke<span class="sr"> {t.id}</span></button>}</td>
            </tr>
          ))}
        </Table>
      </section>
      {ending && (
        <Confirm title={`Revoke token ${ending.id}?`} act="Revoke" danger close={() => setEnding(null)}
          doIt={async () => {
            await ask(`tokens/${encodeURIComponent(ending.id)}`, { method: "DELETE" });
            list.reload();
          }}>
          <p>Whoever has it can't use it any more, and sessions that were begun with it end. This can't be undone.</p>
        </Confirm>
      )}
    </>
  );
}

function TokenState({ t }: { t: Token }) {
  if (t.revoked) return <State mark="off" word="revoked" />;
  if (t.expires_unix_ms !== 0 && t.expires_unix_ms <= now()) return <State mark="off" word="expired" />;
  if (t.used) return <State mark="off" word="used" />;
  return <State mark="good" word="valid" />;
}

const DAY_S = 86_400;

function Make({ session, made }: { session: Session; made: () => void }) {
  const live = useLive();
  const [secret, setSecret] = useState("");
  const [error, setError] = useState("");
  const edges = live.fleet?.sites.flatMap((site) => site.edges.map((edge) => edge.name)) ?? [];
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const text = (name: string) => String(form.get(name) ?? "");
    const [kind, name] = text("for").split(" ");
    const json = { [kind === "edge" ? "edge" : "role"]: name, valid_for_s: Number(text("days")) * DAY_S, comment: text("comment") };
    setError("");
    setSecret("");
    try {
      const created = await ask<{ token: string }>("tokens", { method: "POST", json });
      setSecret(created.token);
      made();
    } catch (problem) {
      setError(told(problem));
    }
  };
  return (
    <section class="panel">
      <h2>Make one</h2>
      <form class="tools" onSubmit={(event) => void submit(event)}>
        <label>
          For{" "}
          <select name="for">
            {may(session, "admin") && ["viewer", "operator", "admin"].map((role) => <option key={role} value={`role ${role}`}>a person: {role}</option>)}
            {edges.map((edge) => <option key={edge} value={`edge ${edge}`}>enrolment of {edge}</option>)}
          </select>
        </label>
        <label>Valid for <select name="days"><option value="1">a day</option><option value="7">a week</option><option value="30">30 days</option></select></label>
        <label>Comment <input name="comment" maxLength={200} autocomplete="off" /></label>
        <button class="primary">Make token</button>
      </form>
      {error && <Note error={error} />}
      <div role="status">
        {secret && (
          <div class="secret">
            <p>This is the only time that it is shown:</p>
            <code tabIndex={0}>{secret}</code>
            <div class="buttons">
              <button onClick={() => void navigator.clipboard.writeText(secret)}>Copy</button>
              <button onClick={() => setSecret("")}>Hide</button>
            </div>
          </div>
        )}
      </div>
    </section>
  );
}
