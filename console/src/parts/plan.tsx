import type { Plan } from "../types";
import { Note, State } from "./state";

const SIGNS: Record<string, string> = { made: "+", removed: "−" };
const sign = (action: string) => SIGNS[action] ?? "~";

export function PlanView({ plan }: { plan: Plan }) {
  if (plan.unchanged) return <Note>Nothing would change.</Note>;
  return (
    <div class="plan">
      {plan.sites.length === 0 && <Note>The document changes, but no edge gets anything else.</Note>}
      <ul>
        {plan.sites.slice(0, 50).map((site) => (
          <li key={site.site}>
            <strong>{sign(site.action)} {site.site}</strong>
            <ul>
              {site.edges.slice(0, 8).map((edge) => (
                <li key={edge.edge}>
                  {sign(edge.action)} {edge.edge}
                  <ul>
                    {edge.changes.map((c, n) => (
                      <li key={n} class={c.action}>{sign(c.action)} {c.what}{c.detail && `: ${c.detail}`}</li>
                    ))}
                  </ul>
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ul>
      {plan.sites.length > 50 && <Note>and {plan.sites.length - 50} sites more</Note>}
      {plan.blinks.length > 0 && (
        <>
          <h3>Paths that are interrupted</h3>
          <ul>
            {plan.blinks.slice(0, 20).map((b) => (
              <li key={b.path_id}>
                {b.name}, {b.about_ms === 0 ? "for good" : `for about ${(b.about_ms / 1_000).toFixed(1)} s`}: {b.why};{" "}
                {!b.stops_traffic ? "other paths carry on" : <State mark="bad" word={b.about_ms === 0 ? "the tunnel ends with it" : "its tunnel carries nothing meanwhile"} />}
              </li>
            ))}
          </ul>
        </>
      )}
      {plan.findings.map((f) => (
        <p key={f.code + f.subject}><State mark="warn" word={f.code} /> {f.subject}: {f.message}. {f.mend}</p>
      ))}
    </div>
  );
}
