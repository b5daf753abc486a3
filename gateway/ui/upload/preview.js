// A blurred impression of a picture in less than 200 characters: a bitmap of some thirty pixels, as a data URI. It is what
// the page shows of an upload until the server keeps thumbnails; a canvas cannot write any format so small.

const SHAPES = [[8, 4], [6, 5], [5, 6], [4, 8]]; // columns and rows, each about a hundred bytes
const HEAD = 26; // bytes of the file's header and of the oldest, shortest bitmap header

export function previewOf(bitmap) {
  const aspect = Math.log(bitmap.width / bitmap.height);
  const off = ([columns, rows]) => Math.abs(Math.log(columns / rows) - aspect);
  const [width, height] = SHAPES.reduce((best, shape) => (off(shape) < off(best) ? shape : best));
  const paper = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
  paper.imageSmoothingQuality = "high";
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, width, height);
  paper.drawImage(bitmap, 0, 0, width, height);
  return uriOf(paper.getImageData(0, 0, width, height));
}

// Rows from the bottom up, blue green red, each padded to four bytes.
function uriOf({ width, height, data }) {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const file = new DataView(new ArrayBuffer(HEAD + stride * height));
  const words = [[14, 12], [18, width], [20, height], [22, 1], [24, 24]]; // offset, value: header's size, sides, planes, bits
  file.setUint16(0, 0x424d);
  file.setUint32(2, file.byteLength, true);
  file.setUint32(10, HEAD, true);
  for (const [at, value] of words) file.setUint16(at, value, true);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const [from, to] = [(row * width + column) * 4, HEAD + (height - 1 - row) * stride + column * 3];
      for (const part of [0, 1, 2]) file.setUint8(to + part, data[from + 2 - part]);
    }
  }
  return `data:image/bmp;base64,${btoa(String.fromCharCode(...new Uint8Array(file.buffer)))}`;
}
