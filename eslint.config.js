import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

export default defineConfig(
  { ignores: ['dist', 'coverage', '.tidemark', 'bin', 'eslint.config.js'] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Numbers in messages and SQL text are plain: `${count}` is wanted, not a fault.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // node:test's `test()` and `describe()` return promises that the runner awaits itself.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            {
              from: 'package',
              name: ['test', 'describe', 'it', 'suite', 'before', 'after', 'beforeEach', 'afterEach'],
              package: 'node:test',
            },
          ],
        },
      ],
      // An async method that only satisfies an interface may have nothing to await.
      '@typescript-eslint/require-await': 'off',
      // `() => void work()` is how a callback says that nobody waits for it.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'no-restricted-syntax': [
        'error',
        {
          selector: 'ExportDefaultDeclaration',
          message: 'No default exports: a thing has one name everywhere.',
        },
        {
          selector: "CallExpression[callee.object.name='console']",
          message: 'Output is written by the CLI to stdout, logs by telemetry/log.ts to stderr.',
        },
      ],
    },
  },
  // A browser runs these as they stand: they are in no project of the compiler's.
  { files: ['assets/**'], ...tseslint.configs.disableTypeChecked },
  {
    files: ['*.config.ts', 'examples/**', 'assets/init/*.config.ts'],
    rules: { 'no-restricted-syntax': 'off' },
  },
)
