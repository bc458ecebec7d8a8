import { defineConfig } from "vite";

export default defineConfig({
  // Relative, so that it also works behind a proxy's prefix.
  base: "./",
  build: {
    target: "es2023",
    cssTarget: ["chrome125", "firefox128", "safari18"],
    // dist/.gitignore is the repository's: tools/console clears the rest.
    emptyOutDir: false,
    // Nothing inline: the policy of the pages forbids it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
});
