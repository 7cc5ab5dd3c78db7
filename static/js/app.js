// @ts-check
/** The script of every page: starts each behaviour. */

import { keepAlerts } from "./alerts.js";
import { keepDrawer } from "./drawer.js";
import { keepJobs } from "./jobs.js";
import { live } from "./live.js";
import { keepMarket } from "./market.js";
import { keepPill } from "./pill.js";
import { keepRows } from "./rows.js";
import { keepSearch } from "./search.js";
import { keepShortcuts } from "./shortcuts.js";
import { keepSignalLists } from "./signal_list.js";
import { keepTheme } from "./theme.js";
import { keepTimes } from "./times.js";
import { keepToasts } from "./toasts.js";
import { keepWatchlist } from "./watch.js";

keepToasts();
keepTheme();
keepTimes();
keepShortcuts();
keepSearch();
keepDrawer();
keepRows();
keepWatchlist();
keepAlerts();
keepSignalLists();
keepJobs();
keepMarket();
keepPill();
live.connect();
// The scripts of a page run in the order they stand in it, this one last: every button has its listener by now.
for (const button of document.querySelectorAll("button")) if (button.type === "button") button.disabled = false;
document.documentElement.dataset.ready = "1";
