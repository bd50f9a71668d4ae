/**
 * The pixels of any image an app has. Browsers decode, upright by EXIF and in sRGB; in Node the caller
 * gives pixels. A canvas keeps half-transparent pixels multiplied by their alpha: over the model's
 * background they are within a level of Pillow's, and opaque ones are the same.
 */
import { EdgecapError } from "./errors.js";
import { upright } from "./pixels.js";

/**
 * Pixels { data, width, height, channels } of an image.
 * Taken: such an object (ImageData has 4 channels; `orientation` is EXIF's), a Blob or File, a URL,
 * an ArrayBuffer or Uint8Array of an image file, an ImageBitmap, a canvas, an <img>, a <video>, a VideoFrame.
 */
export async function readPixels(image) {
  if (image === null || image === undefined) throw new EdgecapError("image.missing", "no image was given.");
  if (typeof image === "object" && "data" in image && "width" in image) {
    const { data, width, height, channels = 4, orientation = 1 } = image;
    return upright({ data, width, height, channels }, orientation);
  }
  if (typeof createImageBitmap === "undefined") {
    throw new EdgecapError(
      "image.type",
      "no image decoder is here: give { data, width, height, channels }.",
      "In Node, decode with a package of yours, such as sharp.",
    );
  }
  return drawn(await bitmapOf(image));
}

async function bitmapOf(image) {
  let source = image;
  if (typeof image === "string" || image instanceof URL) {
    const response = await fetch(image).catch(() => null);
    if (!response?.ok) throw new EdgecapError("image.missing", `${image} cannot be fetched.`);
    source = await response.blob();
  } else if (image instanceof ArrayBuffer || ArrayBuffer.isView(image)) {
    source = new Blob([image]);
  }
  if (source instanceof Blob && source.size === 0) throw new EdgecapError("image.empty", "the image is empty.");
  try {
    return await createImageBitmap(source, {
      colorSpaceConversion: "default", premultiplyAlpha: "none", imageOrientation: "from-image",
    });
  } catch (error) {
    throw new EdgecapError("image.unreadable", `this is no image that this browser reads: ${error.message}.`);
  }
}

function drawn(bitmap) {
  const { width, height } = bitmap;
  const canvas = typeof OffscreenCanvas === "undefined"
    ? Object.assign(document.createElement("canvas"), { width, height })
    : new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close?.();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}
