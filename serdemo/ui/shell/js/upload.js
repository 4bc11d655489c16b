/* Files that the tabs send. */

/* Sends a file with a component's `upload`. Resolves to its name, and its path on the server if it
   arrived. The name on the server is random, so that two visitors who send the same bytes never share
   a file. Pages that are not on https have no randomUUID. */
export const sendFile = async (upload, file) => {
  const ending = file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")) : "";
  const name = crypto.getRandomValues(new Uint32Array(4)).join("-") + ending;
  try {
    const { path } = await upload(new File([file], name, { type: file.type }));
    return { path, name: file.name };
  } catch {
    return { name: file.name };
  }
};
