// Enhances pages that work without it: copy, reveal, tabs, suggestions, keys, busy buttons.
(() => {
	"use strict";
	const $ = (s, e = document) => e.querySelector(s), $$ = (s, e = document) => [...e.querySelectorAll(s)];
	const token = () => $("meta[name=csrf]").content;
	$$("[data-copy],[data-copyfrom],[data-copynext],[data-step]").forEach(b => { b.hidden = false; });

	const say = text => {
		$(".toast.float")?.remove();
		const p = document.createElement("p");
		p.className = "toast float"; p.setAttribute("role", "status"); p.textContent = text;
		document.body.append(p);
		setTimeout(() => p.remove(), 5000);
	};
	const put = async (text, said) => {
		try { await navigator.clipboard.writeText(text); } catch {
			const a = document.createElement("textarea");
			a.value = text; document.body.append(a); a.select(); document.execCommand("copy"); a.remove();
		}
		say(said);
	};
	const fetchSecret = async url => {
		const r = await fetch(url, { method: "POST", headers: { "X-CSRF-Token": token(), "Accept-Language": document.documentElement.lang } });
		const j = await r.json();
		if (j.code === "apps.password_again") { location.href = "/confirm?to=" + encodeURIComponent(location.pathname); return null; }
		if (!r.ok) { say(j.detail); return null; }
		return j.value;
	};

	document.addEventListener("click", async e => {
		const b = e.target.closest("button"), link = e.target.closest("[data-dialog]");
		// A link to a page that asks opens the dialog that asks the same.
		if (link) { const d = document.getElementById(link.dataset.dialog); if (d) { e.preventDefault(); d.showModal(); } }
		for (const m of $$("details.menu[open]")) if (!m.contains(e.target)) m.open = false;
		if (!b) return;
		if (b.dataset.copy !== undefined) put(b.dataset.copy, b.dataset.said);
		if (b.dataset.copyfrom) { const v = await fetchSecret(b.dataset.copyfrom); if (v) put(v, b.dataset.said); }
		if (b.dataset.copynext !== undefined) put($("section:not([hidden]) pre", b.closest(".codes")).textContent, b.dataset.said);
		if (b.dataset.close !== undefined) b.closest("dialog").close();
		if (b.dataset.tab) tab(b.dataset.tab);
		if (b.dataset.step) { const i = $("input", b.parentElement); i.value = Math.min(+i.max, Math.max(+i.min, +i.value + +b.dataset.step)); i.dispatchEvent(new Event("input", { bubbles: true })); }
	});

	// A secret is shown for half a minute.
	document.addEventListener("submit", async e => {
		const f = e.target;
		if (f.dataset.reveal) {
			e.preventDefault();
			const code = $("[data-secret]", f.closest(".secret")), word = $("button span", f);
			if (f.undo) { f.undo(); return; }
			const v = await fetchSecret(f.dataset.reveal);
			if (!v) return;
			const was = code.innerHTML, said = word.textContent;
			code.textContent = v; word.textContent = f.dataset.hide;
			f.undo = () => { code.innerHTML = was; word.textContent = said; clearTimeout(f.timer); f.undo = null; };
			f.timer = setTimeout(() => f.undo && f.undo(), 30000);
			return;
		}
		if (f.method === "post") {
			if (f.dataset.sent) { e.preventDefault(); return; }
			f.dataset.sent = "1";
			const b = e.submitter;
			if (b) { b.was = b.innerHTML; b.style.minWidth = b.offsetWidth + "px"; b.textContent = document.body.dataset.busy; b.setAttribute("aria-busy", "true"); }
		}
	});
	addEventListener("pageshow", () => $$("form[data-sent]").forEach(f => { delete f.dataset.sent; $$("button[aria-busy]", f).forEach(b => { b.innerHTML = b.was; b.removeAttribute("aria-busy"); }); }));

	// Code samples: the chosen language holds for all boxes.
	const tab = name => {
		for (const box of $$("[data-tabs]")) {
			if (!$$("[data-pane]", box).some(p => p.dataset.pane === name)) continue;
			box.classList.add("on");
			$$("[data-pane]", box).forEach(p => { p.hidden = p.dataset.pane !== name; });
			$$("[data-tab]", box).forEach(b => { b.hidden = false; b.setAttribute("aria-pressed", b.dataset.tab === name); });
		}
		try { localStorage.setItem("souk.code", name); } catch { /* private window */ }
	};
	if ($("[data-tabs]")) {
		let want = null;
		try { want = localStorage.getItem("souk.code"); } catch { /* private window */ }
		tab($("[data-pane]").dataset.pane);
		if (want) tab(want);
	}

	// The sum of a plan and a quantity.
	const buy = $("form[data-sum]");
	if (buy) {
		const yuan = fen => "¥" + String(fen / 100n).replace(/\B(?=(\d{3})+$)/g, "\u2009") + "." + String(fen % 100n).padStart(2, "0");
		const sum = () => {
			const plan = $("input[name=plan]:checked", buy), n = $("input[name=count]", buy);
			if (!plan || !/^\d+$/.test(n.value)) return;
			$$("[data-total]").forEach(o => { o.textContent = yuan(BigInt(plan.dataset.fen) * BigInt(n.value)); });
		};
		buy.addEventListener("input", sum); sum();
	}

	// Suggestions.
	for (const input of $$("[data-suggest]")) {
		const box = input.form.querySelector(".suggest");
		let timer, at = -1, composing = false, last = "";
		const close = () => { box.hidden = true; at = -1; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
		const load = async () => {
			const q = input.value.trim();
			if (!q) { close(); return; }
			last = q;
			const r = await fetch(input.dataset.suggest + "?q=" + encodeURIComponent(q));
			if (!r.ok || last !== input.value.trim()) return;
			box.innerHTML = await r.text();
			$$("a", box).forEach((a, i) => { a.id = box.id + i; a.setAttribute("role", "option"); a.setAttribute("aria-selected", "false"); });
			box.hidden = !$("a", box);
			input.setAttribute("aria-expanded", String(!box.hidden)); at = -1;
		};
		input.addEventListener("compositionstart", () => { composing = true; });
		input.addEventListener("compositionend", () => { composing = false; input.dispatchEvent(new Event("input")); });
		input.addEventListener("input", () => { clearTimeout(timer); if (!composing) timer = setTimeout(load, 100); });
		input.addEventListener("keydown", e => {
			const list = $$("a", box);
			if (e.key === "Escape") close();
			if (box.hidden || !list.length) return;
			if (e.key === "ArrowDown" || e.key === "ArrowUp") {
				e.preventDefault();
				at = (at + (e.key === "ArrowDown" ? 1 : -1) + list.length) % list.length;
				list.forEach((a, i) => a.setAttribute("aria-selected", String(i === at)));
				input.setAttribute("aria-activedescendant", list[at].id);
			}
			if (e.key === "Enter" && at >= 0) { e.preventDefault(); list[at].click(); }
		});
		input.addEventListener("blur", () => setTimeout(close, 200));
	}

	// Keys: / search, ? their list, g then h, o, s, j and k through rows; who wants none switches them off.
	let g = 0, row = -1;
	const off = () => { try { return localStorage.getItem("souk.keys") === "off"; } catch { return false; } };
	const box = $("[data-keys]");
	if (box) {
		box.checked = !off();
		box.addEventListener("change", () => { try { localStorage.setItem("souk.keys", box.checked ? "on" : "off"); } catch { /* private window */ } });
	}
	document.addEventListener("keydown", e => {
		if (e.key === "Escape") $$("details.menu[open]").forEach(m => { m.open = false; $("summary", m).focus(); });
		if (e.key === "?" && !/^(INPUT|TEXTAREA)$/.test(e.target.tagName)) $("#keys")?.showModal();
		if (off() || e.isComposing || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) || $("dialog[open]")) return;
		if (e.key === "/") { const i = $("input[type=search]"); if (i) { e.preventDefault(); i.focus(); } }
		if (e.key === "j" || e.key === "k") {
			const rows = $$("main tbody tr").map(r => $("a", r)).filter(Boolean);
			row = Math.max(0, Math.min(rows.length - 1, row + (e.key === "j" ? 1 : -1)));
			rows[row]?.focus();
		}
		if (e.key === "g") { g = Date.now(); return; }
		const to = { h: "/", o: "/orders", s: "/services" }[e.key];
		if (to && Date.now() - g < 1000) location.href = to;
		g = 0;
	});
	for (const tab of $$(".tabs [aria-current]")) { const bar = tab.parentElement; bar.scrollLeft = tab.offsetLeft - bar.offsetLeft - (bar.clientWidth - tab.offsetWidth) / 2; }
	$(".faults")?.focus();
})();
