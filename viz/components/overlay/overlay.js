// One finished map over the photo.

import { mountable } from "../shared/component.js";
import { ReadableMap } from "../shared/readable_map.js";

class Overlay extends ReadableMap {
  static selector = ".overlay";

  receive(header, { values }) {
    this.header = header;
    this.show({ ...header, values });
    this.loadPhoto();
  }
}

export default mountable(Overlay);
