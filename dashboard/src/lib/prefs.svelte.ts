// What somebody likes on this device: theme, contrast, columns. Kept in the browser; public/theme.js reads it before the
// first paint.

const KEY = 'meshward.prefs';

export type Theme = 'system' | 'light' | 'dark';
export type Contrast = 'system' | 'more';

class Prefs {
  theme = $state<Theme>('system');
  contrast = $state<Contrast>('system');
  /** Columns of the table of nodes; `null` is as usual. */
  columns = $state.raw<readonly string[] | null>(null);

  constructor() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Record<string, unknown>;
      if (kept.theme === 'light' || kept.theme === 'dark') this.theme = kept.theme;
      if (kept.contrast === 'more') this.contrast = 'more';
      if (Array.isArray(kept.columns)) this.columns = kept.columns.filter((key) => typeof key === 'string');
    } catch {
      // Storage may be forbidden: then it is the system's until the page is closed.
    }
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    if (theme === 'system') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', theme);
    this.#keep();
  }

  setContrast(contrast: Contrast): void {
    this.contrast = contrast;
    if (contrast === 'system') document.documentElement.removeAttribute('data-contrast');
    else document.documentElement.setAttribute('data-contrast', contrast);
    this.#keep();
  }

  setColumns(columns: readonly string[] | null): void {
    this.columns = columns;
    this.#keep();
  }

  #keep(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify({ theme: this.theme, contrast: this.contrast, columns: this.columns }));
    } catch {
      // As above.
    }
  }
}

export const prefs = new Prefs();
