import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "src/v1/", "node_modules/"] },
  { files: ["src/**/*.ts"], extends: [...tseslint.configs.strictTypeChecked], languageOptions: { parserOptions: { projectService: true } } },
  { files: ["**/*.js", "**/*.mjs"], extends: [...tseslint.configs.strict] },
);
