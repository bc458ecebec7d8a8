import { useEffect, useRef, useState } from "preact/hooks";
import { ask, told } from "../api";
import { Knot } from "../parts/shell";
import type { Session } from "../types";

export function SignIn({ take, ended, error: first }: { take: (session: Session) => void; ended: boolean; error: string }) {
  const field = useRef<HTMLInputElement>(null);
  const [error, setError] = useState(first);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    document.title = "Sign in · Hawser";
    field.current?.focus();
  }, []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const input = field.current;
    if (!input || busy) return;
    setBusy(true);
    setError("");
    try {
      const session = await ask<Session>("session", { method: "POST", json: { token: input.value.trim() } });
      localStorage.setItem("hawser-signed-in", "1");
      take(session);
    } catch (problem) {
      setError(told(problem));
      setBusy(false);
    }
    // It stays nowhere on this page.
    input.value = "";
    input.focus();
  };
  return (
    <main class="signin">
      <form onSubmit={(event) => void submit(event)} autocomplete="off">
        <h1>
          <Knot /> Hawser
        </h1>
        {ended && <p class="note">The session has ended. Sign in again.</p>}
        <label for="token">API token</label>
        <input ref={field} id="token" name="token" type="password" required autocomplete="off" spellcheck={false}
          aria-describedby="token-help" aria-invalid={error !== ""} />
        {error && <p class="note bad" role="alert">{error}</p>}
        <button class="primary" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
        <p id="token-help" class="faint">
          It is sent once, and is kept neither here nor in the address. <code>hawser token create --role viewer</code> makes one.
        </p>
      </form>
    </main>
  );
}
