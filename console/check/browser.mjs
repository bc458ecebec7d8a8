// A headless Chromium that notes what must not happen: errors, and requests to anybody but the controller.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
const PATIENCE_MS = 60_000;
const MAX_IMAGE_BYTES = 200_000;

export class Browser {
  constructor(url, images) {
    this.url = url;
    this.images = images;
    this.seen = {
      steps: [],
      failure_shown_after_ms: null,
      console_errors: [],
      foreign_requests: [],
      pages_checked_by_axe: 0,
      axe_serious: [],
      axe_minor: [],
      too_wide: [],
      screenshots: [],
    };
  }

  async start() {
    this.chromium = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      // Root has no sandbox; the only pages are our own.
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"],
    });
  }

  async stop() {
    await this.chromium?.close();
  }

  /** Somebody new, with no cookie of anybody. */
  async person() {
    const context = await this.chromium.newContext({
      // The fleet's own CA signed the controller's certificate; this browser does not know it.
      ignoreHTTPSErrors: true,
      viewport: DESK,
      colorScheme: "light",
      timezoneId: "UTC",
    });
    context.setDefaultTimeout(PATIENCE_MS);
    context.on("request", (request) => {
      const at = new URL(request.url());
      if (!["data:", "blob:"].includes(at.protocol) && at.origin !== this.url) this.seen.foreign_requests.push(request.url());
    });
    const page = await context.newPage();
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.seen.console_errors.push(message.text());
    });
    page.on("pageerror", (error) => this.seen.console_errors.push(String(error)));
    return { context, page };
  }

  /** What fails ends nothing: the others are still worth knowing. */
  async step(name, does) {
    try {
      this.seen.steps.push({ name, ok: true, why: (await does()) ?? "" });
    } catch (error) {
      const why = String(error.message ?? error).split("\n").slice(0, 6).join(" ");
      this.seen.steps.push({ name, ok: false, why });
    }
  }

  async axe(page, name) {
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      this.seen.pages_checked_by_axe += 1;
      for (const { id, impact, nodes } of violations) {
        const list = ["serious", "critical"].includes(impact) ? this.seen.axe_serious : this.seen.axe_minor;
        const first = nodes[0];
        list.push(`${id} on ${name} (${scheme}), ${nodes.length} times: ${first?.target.join(" ")} ${first?.any[0]?.message ?? ""}`);
      }
    }
    await page.emulateMedia({ colorScheme: "light" });
  }

  async picture(page, name, { schemes = ["light", "dark"], fullPage = false } = {}) {
    for (const scheme of schemes) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForTimeout(350);
      const file = `console-${name}${scheme === "dark" ? "-dark" : ""}.png`;
      const image = await page.screenshot({ fullPage, animations: "disabled" });
      // A busy page makes a large picture: the one before is kept then.
      if (image.length > MAX_IMAGE_BYTES) continue;
      writeFileSync(join(this.images, file), image);
      this.seen.screenshots.push(file);
    }
    await page.emulateMedia({ colorScheme: "light" });
  }

  async phone(page, name) {
    await page.setViewportSize(PHONE);
    await page.waitForTimeout(200);
    const [wide, has] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
    if (wide > has) this.seen.too_wide.push(`${name}: ${wide} pixels`);
    await page.setViewportSize(DESK);
  }
}

export function must(holds, why) {
  if (!holds) throw new Error(why);
}
