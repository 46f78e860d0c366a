// A classic script, before the modules: says so when the page's libraries are missing, instead of waiting for ever.
addEventListener(
  "error",
  (event) => {
    const tag = event.target;
    if (!(tag instanceof HTMLScriptElement) || tag.type !== "module") return;
    const english = document.documentElement.lang.startsWith("en");
    const note = document.createElement("p");
    note.setAttribute("role", "alert");
    note.className = "page";
    note.textContent = english
      ? "This page could not load its parts. Reload; if that does not help, the server lacks its browser libraries: run python static/build_hook.py there."
      : "页面组件没有加载成功，请刷新。如仍不行，说明服务器缺少浏览器组件，请在服务器上运行 python static/build_hook.py。";
    document.getElementById("app").replaceChildren(note);
  },
  true,
);
