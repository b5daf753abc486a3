// Which files go together in one call.

export const BATCH = 8;
const BATCH_BYTES = 6e6;

// Batches of at most BATCH files and about BATCH_BYTES.
export function batches(files) {
  const made = [[]];
  let size = 0;
  for (const file of files) {
    const last = made.at(-1);
    if (last.length && (last.length >= BATCH || size + file.size > BATCH_BYTES)) {
      made.push([]);
      size = 0;
    }
    made.at(-1).push(file);
    size += file.size;
  }
  return made;
}

// An id for each file: its path below a chosen folder, else its name; a second file of a name gets a number.
export function named(files) {
  const seen = new Map();
  return files.map((file) => {
    const name = file.webkitRelativePath || file.name;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return { file, id: times === 1 ? name : name.replace(/(\.[^./]*)?$/, ` (${times})$1`) };
  });
}

// Of a chosen folder, which has other files, too; what is hidden below it is passed over, such as macOS's `._a.jpg`.
// Not every browser knows the types of the newer kinds.
export function pictures(files) {
  return files.filter(({ type, name, webkitRelativePath: path }) => {
    const hidden = path.split("/").slice(1).some((part) => part.startsWith("."));
    return !hidden && (type.startsWith("image/") || /\.(avif|hei[cf]|hif)$/i.test(name));
  });
}
