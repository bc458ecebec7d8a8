import { useEffect, useState } from "preact/hooks";
import { Problem, ask, onSignedOut, told } from "./api";
import { live } from "./live";
import { AuditPage } from "./pages/audit";
import { DecisionsPage } from "./pages/decisions";
import { EventsPage } from "./pages/events";
import { FleetPage } from "./pages/fleet";
import { PathPage } from "./pages/path";
import { PlanPage } from "./pages/plan";
import { RevisionsPage } from "./pages/revisions";
import { SignIn } from "./pages/signin";
import { SitePage } from "./pages/site";
import { TokensPage } from "./pages/tokens";
import { Shell } from "./parts/shell";
import { type Route, useRoute } from "./router";
import type { Session } from "./types";

export function App() {
  const [session, setSession] = useState<Session | null>(null);
  const [asked, setAsked] = useState(false);
  const [error, setError] = useState("");
  const [ended, setEnded] = useState(false);
  const route = useRoute();

  useEffect(() => {
    onSignedOut(() => {
      live.stop();
      localStorage.removeItem("hawser-signed-in");
      setSession((old) => {
        if (old) setEnded(true);
        return null;
      });
    });
    if (localStorage.getItem("hawser-signed-in") === null) {
      // Nobody signed in in this browser: do not ask only to be refused.
      setAsked(true);
      return;
    }
    ask<Session>("session")
      .then(setSession)
      .catch((problem: unknown) => {
        if (!(problem instanceof Problem && problem.status === 401)) setError(told(problem));
      })
      .finally(() => setAsked(true));
  }, []);

  useEffect(() => {
    if (!session) return;
    live.start();
    return () => live.stop();
  }, [session?.token_id]);

  if (!asked) return null;
  if (!session) {
    const take = (taken: Session) => {
      setEnded(false);
      setSession(taken);
    };
    return <SignIn take={take} ended={ended} error={error} />;
  }
  return (
    <Shell session={session} route={route} left={() => setSession(null)}>
      <Page route={route} session={session} />
    </Shell>
  );
}

function Page({ route, session }: { route: Route; session: Session }) {
  switch (route.page) {
    case "fleet":
      return <FleetPage />;
    case "sites":
      return <SitePage name={route.id} />;
    case "paths":
      return <PathPage id={Number(route.id)} query={route.query} />;
    case "decisions":
      return <DecisionsPage query={route.query} />;
    case "events":
      return <EventsPage />;
    case "revisions":
      return <RevisionsPage id={route.id} session={session} />;
    case "plan":
      return <PlanPage session={session} />;
    case "tokens":
      return <TokensPage session={session} />;
    case "audit":
      return <AuditPage session={session} />;
    default:
      return (
        <section>
          <h1>There is no such page</h1>
          <p>
            <a href="#/">The fleet</a> is a good place to begin.
          </p>
        </section>
      );
  }
}
