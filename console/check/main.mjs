// Looks at the console as people do. Its one argument is a file that says where the fleet is, who may do what, and how an
// uplink is broken; what was seen is written where that file says.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { Browser, DESK, must } from "./browser.mjs";

const asked = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = new Browser(asked.url, asked.images);
const { seen } = browser;
const run = ([program, ...args]) => execFileSync(program, args, { timeout: 30_000 });
const at = (fragment) => `${asked.url}/#/${fragment}`;

async function signIn(page, token) {
  await page.goto(`${asked.url}/`);
  await page.getByLabel("API token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Topology" }).waitFor();
}

async function go(page, fragment, heading) {
  await page.goto(at(fragment));
  await page.getByRole("heading", { name: heading }).first().waitFor();
}

await browser.start();
const { context, page } = await browser.person();

await browser.step("sign in", async () => {
  await page.goto(`${asked.url}/`);
  await page.getByLabel("API token").waitFor();
  await browser.axe(page, "sign in");
  await browser.phone(page, "sign in");
  await signIn(page, asked.tokens.admin);
  const [cookie] = await context.cookies();
  must(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Strict", `the cookie is ${JSON.stringify(cookie)}`);
  const kept = await page.evaluate(() => JSON.stringify([location.href, document.cookie, { ...localStorage }, { ...sessionStorage }]));
  must(!kept.includes(asked.tokens.admin), "the token is kept by the page");
  must(!kept.includes(cookie.value), "a script can read the session");
});

await browser.step("the map shows the fleet", async () => {
  await page.locator(".map .line").nth(7).waitFor({ state: "attached" });
  await page.locator(".map .line.used").first().waitFor({ state: "attached" });
  await page.waitForFunction(() => document.querySelectorAll(".map .line:not(.good)").length === 0);
  await browser.axe(page, "fleet");
  return `${await page.locator(".map .line").count()} paths`;
});

// Charts need something to show.
await page.waitForTimeout(80_000);

await browser.step("the map shows the uplink that failed", async () => {
  const mark = page.locator('[data-uplink="b1 isp-a"][data-mark="bad"]');
  const line = page.locator('.map .card[data-site="b1"] .port.bad');
  const began = performance.now();
  run(asked.fail);
  await Promise.all([mark.waitFor(), line.waitFor({ state: "attached" })]);
  seen.failure_shown_after_ms = Math.round(performance.now() - began);
  await page.locator(".hurts").getByText("b1 isp-a").waitFor();
  // Exactly the two paths over it; one may be told of a moment before the other.
  await page.waitForFunction(() => document.querySelectorAll(".map .line.bad").length === 2);
  await page.getByRole("region", { name: "Last moves" }).getByText("went down").first().waitFor();
  await browser.picture(page, "fleet");
  await browser.axe(page, "fleet with a failure");
  await browser.phone(page, "fleet");
  return `after ${seen.failure_shown_after_ms} ms`;
});

await browser.step("why, in two clicks", async () => {
  await page.getByRole("region", { name: "Last moves" }).getByRole("link").first().click();
  const decision = page.getByRole("region", { name: "The decision" });
  await decision.getByText("because the path it was on went down").waitFor();
  await decision.getByRole("rowheader", { name: /→/ }).first().waitFor();
  await browser.picture(page, "decision");
  await browser.axe(page, "decision");
  await browser.phone(page, "decision");
  await decision.getByRole("link", { name: "Chart of the path it left" }).click();
  await page.locator(".plot canvas").nth(2).waitFor();
});

await browser.step("the chart shows the move", async () => {
  await page.getByRole("button", { name: "5 min", exact: true }).click();
  await page.locator('.plot[data-moves]:not([data-moves="0"])').nth(2).waitFor();
  await page.waitForTimeout(12_000);
  run(asked.heal);
  await page.waitForTimeout(15_000);
  await page.getByRole("button", { name: "Zoom in" }).click();
  await page.getByRole("button", { name: "Later" }).click();
  await browser.picture(page, "path");
  // A chart is drawn anew for other colours.
  await page.waitForTimeout(1_000);
  const box = await page.locator(".plot .u-over").first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.3, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.getByRole("button", { name: "Live" }).and(page.locator(":enabled")).click();
  await browser.axe(page, "path");
  await browser.phone(page, "path");
});

await browser.step("a site's page", async () => {
  await go(page, "sites/b1", /^b1/);
  await page.getByRole("region", { name: "Uplinks of b1-1" }).getByText("isp-b").first().waitFor();
  await page.getByText("SLA met").first().click();
  await page.getByRole("region", { name: "Candidates" }).first().waitFor();
  await browser.picture(page, "site");
  await browser.axe(page, "site");
  await browser.phone(page, "site");
});

await browser.step("rollback asks first", async () => {
  await go(page, "revisions/1", "Revisions");
  await page.locator(".diff .cut").first().waitFor();
  await browser.axe(page, "revisions");
  await browser.phone(page, "revisions");
  const button = page.getByRole("button", { name: "Roll back to revision 1" });
  await button.click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(/b1-1|hq-1/).first().waitFor();
  await browser.picture(page, "rollback");
  await browser.axe(page, "rollback");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  const revision = async () => (await (await context.request.get(`${asked.url}/v1/status`)).json()).revision;
  must((await revision()) === 2, "Escape rolled back");
  must(await button.evaluate((b) => b === document.activeElement), "focus is lost after the dialog");
  await button.click();
  await dialog.getByRole("button", { name: "Roll back to 1" }).click();
  await page.getByText("Revision 3 says what revision 1 said").waitFor();
  must((await revision()) === 3, "it is not rolled back");
});

await browser.step("plan, events, tokens and audit", async () => {
  await go(page, "plan", "Plan");
  const document = page.getByLabel("Document");
  await page.waitForFunction(() => window.document.querySelector("textarea").value.includes("acme"));
  await document.fill((await document.inputValue()).replace("max_rtt_ms: 150", "max_rtt_ms: 120"));
  await page.getByRole("button", { name: "What would it do?" }).click();
  await page.locator(".plan li").first().waitFor();
  await browser.axe(page, "plan");
  await browser.phone(page, "plan");
  await go(page, "events", "Events");
  await page.getByText("REVISION_APPLIED").first().waitFor();
  await page.setViewportSize({ width: 1100, height: 620 });
  await browser.picture(page, "events", { schemes: ["light"] });
  await page.setViewportSize(DESK);
  await browser.axe(page, "events");
  await browser.phone(page, "events");
  await go(page, "tokens", "Tokens");
  await page.getByRole("button", { name: "Make token" }).click();
  await page.locator(".secret code").waitFor();
  await browser.axe(page, "tokens");
  await browser.phone(page, "tokens");
  await page.getByRole("button", { name: "Hide" }).click();
  await go(page, "audit", "Audit");
  await page.getByText("SIGNED_IN").first().waitFor();
  await browser.axe(page, "audit");
  await browser.phone(page, "audit");
});

await browser.step("by keyboard alone", async () => {
  await page.goto(at(""));
  await page.reload();
  await page.getByRole("heading", { name: "Topology" }).waitFor();
  await page.keyboard.press("Tab");
  must((await page.evaluate(() => document.activeElement.textContent)).includes("Skip to content"), "no way past the head");
  await page.keyboard.press("Enter");
  must((await page.evaluate(() => document.activeElement.id)) === "main", "the way past the head leads elsewhere");
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.classList.contains("card"))) break;
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Paths" }).waitFor();
});

await browser.step("on a phone", async () => {
  const small = await browser.person();
  await small.page.setViewportSize({ width: 390, height: 844 });
  await signIn(small.page, asked.tokens.viewer);
  await small.page.locator(".map .line").nth(7).waitFor({ state: "attached" });
  await browser.picture(small.page, "phone", { schemes: ["dark"] });
  await small.context.close();
});

await browser.step("a viewer looks and changes nothing", async () => {
  const viewer = await browser.person();
  await signIn(viewer.page, asked.tokens.viewer);
  must((await viewer.page.getByRole("link", { name: "Tokens" }).count()) === 0, "a viewer is offered tokens");
  await go(viewer.page, "revisions/1", "Revisions");
  await viewer.page.getByText("needs the role operator").waitFor();
  must((await viewer.page.getByRole("button", { name: /Roll back/ }).count()) === 0, "a viewer is offered to roll back");
  const headers = { "hawser-console": "1" };
  const refused = await viewer.context.request.post(`${asked.url}/v1/revisions/2/rollback`, { headers, data: {} });
  must(refused.status() === 403, `rolling back by request: ${refused.status()}`);
  await viewer.context.close();
});

await browser.step("sign out", async () => {
  const before = await context.cookies();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API token").waitFor();
  must((await context.cookies()).length === 0, "the cookie is still there");
  const cookie = `${before[0].name}=${before[0].value}`;
  const after = await context.request.get(`${asked.url}/v1/status`, { headers: { cookie } });
  must(after.status() === 401, `the session goes on: ${after.status()}`);
});

await browser.stop();
writeFileSync(asked.answer, JSON.stringify(seen));
