import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { told } from "../api";

interface Props {
  title: string;
  /** What the button says that does it. */
  act: string;
  /** Resolves when it is done; what it throws is shown. */
  doIt: () => Promise<unknown>;
  close: () => void;
  danger?: boolean;
  children: ComponentChildren;
}

/** Asks before something is changed. Escape and "Cancel" change nothing. */
export function Confirm({ title, act, doIt, close, danger, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  useEffect(() => {
    const back = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (back instanceof HTMLElement) back.focus();
    };
  }, []);
  const go = async () => {
    setBusy(true);
    setError("");
    try {
      await doIt();
      close();
    } catch (problem) {
      setError(told(problem));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={close} onCancel={(e) => busy && e.preventDefault()}>
      <h2 id="dialog-title">{title}</h2>
      <div class="said">{children}</div>
      {error && <p class="note bad" role="alert">{error}</p>}
      <div class="buttons">
        <button onClick={close} disabled={busy}>
          Cancel
        </button>
        <button class={danger ? "danger" : "primary"} onClick={() => void go()} disabled={busy}>
          {busy ? "Working…" : act}
        </button>
      </div>
    </dialog>
  );
}
