// What jsdom lacks and components ask for.

if (!('ResizeObserver' in globalThis)) {
  class Observer {
    observe() {}
    unobserve() {}
    disconnect() {}
  }
  Object.assign(globalThis, { ResizeObserver: Observer });
}
if (typeof window !== 'undefined' && !window.matchMedia) {
  window.matchMedia = (media: string) =>
    ({ media, matches: false, addEventListener() {}, removeEventListener() {} }) as unknown as MediaQueryList;
}
if (typeof window !== 'undefined') {
  window.scrollTo = () => {};
}
