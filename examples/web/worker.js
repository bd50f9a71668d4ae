/** The model in a Worker; model.js talks to it. */
import { local } from "./local.js";

const answer = local((message) => postMessage(message));
addEventListener("message", ({ data }) => answer(data));
