// The verdict looks at every pair there is, so the overview asks for it after it has been shown.
document.addEventListener("DOMContentLoaded", async () => {
    const place = document.getElementById("comparison");
    if (!place) return;
    try {
        const answer = await fetch(place.dataset.url, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(`the comparison answered ${answer.status}`);
        place.textContent = (await answer.json()).verdict.sentence;
    } catch (problem) {
        place.textContent = `The comparison could not be read: ${problem.message}.`;
    }
});
