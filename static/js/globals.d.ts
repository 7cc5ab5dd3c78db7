/** What the vendored scripts put on the window. */
declare global {
  interface Window {
    htmx: {
      ajax(verb: string, url: string, options: { target: string; swap: string }): Promise<void>;
      trigger(element: Element, name: string): void;
      process(element: Element): void;
    };
    LightweightCharts: any;
  }
}
export {};
