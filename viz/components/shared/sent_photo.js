// A photo that comes inside a payload, for components whose payloads are no recorded image.

// Decode it and hand it over; one that another has overtaken is dropped.
export function decodeSent(component, name, jpeg) {
  const mine = {};
  component.decoding = { ...component.decoding, [name]: mine };
  createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).then(
    component.guard((photo) => {
      if (component.decoding[name] !== mine) return;
      component[name] = photo;
      component.schedule();
    }),
    component.guard(() => {
      throw new Error("The photo could not be decoded.");
    }),
  );
}
