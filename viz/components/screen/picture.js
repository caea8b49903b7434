// While a lesson runs, the page's picture has to be seen: between the bar at the top and the lesson.

const TRIES = 80;
const PAUSE = 150; // milliseconds between two tries, while the page may still be moving
const FAR = 1.2; // screens; a picture further down is not what the page is about
const LEAST = 100; // pixels; a smaller canvas is a scale or an icon
const GAP = 8;
const OWN_MOVES = ["wheel", "touchstart", "pointerdown", "keydown"];

// Bring the picture into view as soon as the page stands still; whoever scrolls is left alone.
// `lesson` is the element that covers the foot of the page. Returns what stops it.
export function showPicture(lesson) {
  const main = document.querySelector("[data-testid=stMain]");
  let tries = 0;
  let before = null;
  const stop = () => {
    clearInterval(timer);
    for (const move of OWN_MOVES) main?.removeEventListener(move, stop);
  };
  const timer = setInterval(() => {
    const found = main && pictureOf(main);
    const at = found?.picture.getBoundingClientRect().top + main?.scrollTop;
    if (found && isIdle() && at === before) {
      if (at < FAR * innerHeight) main.scrollBy({ top: wayTo(found, roomAbove(lesson)) });
      stop();
    }
    before = at;
    tries += 1;
    if (tries === TRIES) stop();
  }, PAUSE);
  for (const move of OWN_MOVES) main?.addEventListener(move, stop, { passive: true });
  return stop;
}

function isIdle() {
  const app = document.querySelector("[data-testid=stApp]");
  return app?.dataset.testScriptState === "notRunning";
}

// The first picture or chart of a page, and the part of the page that it belongs to.
function pictureOf(main) {
  for (const part of main.querySelectorAll("*")) {
    const inside = part.shadowRoot?.querySelectorAll("canvas, img") ?? [];
    const pictures = part.matches(".js-plotly-plot") ? [part] : [...inside];
    const picture = pictures.find((each) => each.getBoundingClientRect().height >= LEAST);
    if (picture) return { part, picture };
  }
  return null;
}

// What of the screen is free: from the bar at the top to the lesson.
function roomAbove(lesson) {
  const header = document.querySelector("[data-testid=stHeader]");
  const top = header?.getBoundingClientRect().bottom ?? 0;
  return { top: top + GAP, bottom: lesson.getBoundingClientRect().top - GAP };
}

// How far to scroll: not at all where the picture is seen; else to the part's beginning, or to the
// picture's where both do not fit.
export function wayTo({ part, picture }, room) {
  const [start, seen] = [part, picture].map((each) => each.getBoundingClientRect());
  if (seen.top >= room.top && seen.bottom <= room.bottom) return 0;
  const fits = seen.bottom - start.top <= room.bottom - room.top;
  return (fits ? start.top : seen.top) - room.top;
}
