// The texts of pictures that stand out from what is behind them by less than WCAG asks for, which
// axe-core does not measure: it finds no ground for a text in an SVG.
const numbers = colour => colour.match(/[\d.]+/g).map(Number);
const over = ([r, g, b], alpha, ground) => [r, g, b].map((part, at) => part * alpha + ground[at] * (1 - alpha));
const light = colour => {
  const [r, g, b] = colour.map(part => part / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const opacity = element => {
  let all = Number(getComputedStyle(element).fillOpacity);
  for (let at = element; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity);
  return all;
};
const fill = element => getComputedStyle(element).fill;
const page = numbers(getComputedStyle(document.body).backgroundColor);
const pale = [];
let measured = 0;
const texts = [...document.querySelectorAll('svg text')];
// Some of each part of a picture are enough: they are hundreds in a few colours.
const every = Math.ceil(texts.length / 150);
for (const text of texts.filter((_, index) => index % every === 0)) {
  text.scrollIntoView({ block: 'center', inline: 'center' });
  const at = text.getBoundingClientRect();
  if (!at.width || !text.textContent.trim()) continue;
  const under = document.elementsFromPoint(at.x + at.width / 2, at.y + at.height / 2)
    .find(element => element instanceof SVGGeometryElement && fill(element) !== 'none');
  const ground = under ? over(numbers(fill(under)), opacity(under), page) : page;
  const ink = over(numbers(fill(text)), opacity(text), ground);
  const [one, other] = [light(ink), light(ground)];
  const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  const style = getComputedStyle(text);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.6 && style.fontWeight >= 700);
  measured += 1;
  if (contrast < (large ? 3 : 4.5)) pale.push(`${text.textContent}: ${contrast.toFixed(2)}, ${ink.map(Math.round)} on ${ground.map(Math.round)}`);
}
return { measured, pale };
