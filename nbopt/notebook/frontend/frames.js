/* Answering frames: the kernel sends another one only to who has drawn the last. */

const NEAR = '150px'; // of what is in sight: what is about to be scrolled there

/**
 * Answer each frame once it has been drawn. A hidden tab draws nothing, a closed one neither, and of a panel that is
 * scrolled away nobody sees it: no answer, and the kernel stops sending.
 *
 * @param {{ get: (name: 'frame') => number, send: (message: object) => void, on: Function, off: Function }} model
 * @param {(target: EventTarget, type: string, handler: (event: any) => unknown) => void} on
 * @param {AbortSignal} gone
 * @returns {(panel: Element) => void} To be called with what has to be in sight.
 */
export function answerFrames(model, on, gone) {
  let isSeen = true;
  const answer = () =>
    isSeen &&
    // A task after the next animation frame comes when that frame has been painted: the kernel times how long all took.
    requestAnimationFrame(() =>
      setTimeout(() => {
        if (!gone.aborted) model.send({ frame: model.get('frame') });
      })
    );
  model.on('change:frame', answer);
  answer();
  on(document, 'visibilitychange', () => document.hidden || answer());
  const looked = new IntersectionObserver(
    entries => {
      const wasSeen = isSeen;
      isSeen = entries.some(entry => entry.isIntersecting);
      if (isSeen && !wasSeen) answer();
    },
    { rootMargin: NEAR }
  );
  gone.addEventListener('abort', () => {
    looked.disconnect();
    model.off('change:frame', answer);
  });
  return panel => looked.observe(panel);
}
