// Zoom and pan of one picture: wheel, pinch, double click, drag, and the keys + - 0.

const MOST = 8;
const STEP = 1.5;
export const FIT = { scale: 1, x: 0, y: 0 };

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

// `point` stays where it is, in CSS pixels from the middle of the frame; `frame` has width and height.
export function zoomedAt({ scale, x, y }, factor, point, frame) {
  const next = clamp(scale * factor, 1, MOST);
  const grown = next / scale;
  return within({ scale: next, x: point.x - (point.x - x) * grown, y: point.y - (point.y - y) * grown }, frame);
}

// Moved no further than to the picture's edges.
export function within({ scale, x, y }, { width, height }) {
  const most = (side) => (side * (scale - 1)) / 2;
  return { scale, x: clamp(x, -most(width), most(width)), y: clamp(y, -most(height), most(height)) };
}

// Makes `frame` zoomable; `image` lies in it. Returns { reset, zoom(factor), pan(x, y) }; `changed(scale)` is told.
export function zoomable(frame, image, changed) {
  const fingers = new Map(); // pointer id → where it is
  let view = FIT;

  function set(next) {
    view = next;
    image.style.transform = next.scale === 1 ? "" : `translate(${next.x}px, ${next.y}px) scale(${next.scale})`;
    frame.classList.toggle("zoomed", next.scale > 1);
    changed(next.scale);
  }

  function pointOf({ clientX, clientY }) {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  const size = () => ({ width: frame.clientWidth, height: frame.clientHeight });
  const zoom = (factor, point = { x: 0, y: 0 }) => set(zoomedAt(view, factor, point, size()));
  const pan = (x, y) => set(within({ ...view, x: view.x + x, y: view.y + y }, size()));

  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), pointOf(event));
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => (view.scale > 1 ? set(FIT) : zoom(2.5, pointOf(event))));
  frame.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, a")) return;
    fingers.set(event.pointerId, event);
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, event);
    if (other) zoom(distance(event, other) / Math.max(1, distance(before, other)), pointOf(middle(event, other)));
    else pan(event.clientX - before.clientX, event.clientY - before.clientY);
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => fingers.delete(event.pointerId));
  return { reset: () => set(FIT), zoom, pan };
}

const distance = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
const middle = (a, b) => ({ clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 });

// Whether a key was one of zooming; Shift and an arrow pan.
export function zoomByKey(event, { reset, zoom, pan }) {
  const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  if (event.shiftKey && steps[event.key]) pan(...steps[event.key]);
  else if (event.key === "+" || event.key === "=") zoom(STEP);
  else if (event.key === "-") zoom(1 / STEP);
  else if (event.key === "0") reset();
  else return false;
  return true;
}
